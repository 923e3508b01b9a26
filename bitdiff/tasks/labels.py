"""Class labels of a task's examples: hidden in training for guidance, and dealt to samples."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.errors import UsageError


class Classes(NamedTuple):
    """What a task does with labels.

    hide: (label int [B], keys [B]) -> the same with a share of -1, no label.
    deal: (indices int [B], labels or None) -> {'label': int32 [B]}, sample i's; {} without classes.
    """

    hide: Callable[[jax.Array, jax.Array], jax.Array]
    deal: Callable[[np.ndarray, Sequence[int] | None], dict[str, np.ndarray]]


def make_classes(num_classes: int, dropout: float) -> Classes:
    """Labels below num_classes (0: none at all), hidden with probability `dropout`.

    Raises:
      UsageError: dropout is not in [0, 1).
    """
    if not 0 <= dropout < 1:
        raise UsageError(f"config.diffusion.label_dropout is {dropout}; it must be in [0, 1)")

    def hide(label, keys):
        hidden = jax.vmap(lambda key: jax.random.bernoulli(key, dropout))(keys)
        return jnp.where(hidden, -1, label)

    def deal(indices, labels):
        if not num_classes:
            if labels is not None:
                raise UsageError("labels were given, but the model is unconditional")
            return {}
        labels = tuple(range(num_classes)) if labels is None else labels
        bad = [label for label in labels if not -1 <= label < num_classes]
        if bad or not labels:
            raise UsageError(f"labels {bad} are not among the {num_classes} classes, 0 to {num_classes - 1} (-1: none)")
        if -1 in labels and dropout == 0:
            raise UsageError(
                "label -1 (none) needs a model that was trained with config.diffusion.label_dropout above 0"
            )
        return {"label": np.asarray(labels, np.int32)[np.asarray(indices) % len(labels)]}

    return Classes(hide, deal)
