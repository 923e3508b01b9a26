"""Class labels: dropped in training for guidance, and assigned to samples in turn."""

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.conditions.condition import Condition, Request, Signal
from bitdiff.runtime.errors import UsageError

_DROPOUT_FIELD = "config.diffusion.label_dropout"


def make_labels(num_classes: int, dropout: float) -> Condition:
    """Labels below num_classes; a dropped label is the null label -1.

    Args:
      num_classes: 1 or more.
      dropout: the rate at which labels are dropped in training, in [0, 1).
    """

    def observe(params, batch, keys):
        dropped = jax.vmap(lambda key: jax.random.bernoulli(key, dropout))(keys.labels)
        return Signal(label=jnp.where(dropped, -1, batch["label"]))

    def embed(params, value, null):
        return Signal(label=jnp.full_like(value, -1) if null else value)

    return Condition(
        name="class labels",
        takes_labels=True,
        dropout=dropout,
        dropout_field=_DROPOUT_FIELD,
        guidance_option="guidance",
        init=lambda key: (key, {}, Signal(label=jnp.zeros(1, jnp.int32))),
        select=lambda request: {"label": _select(request, num_classes, dropout)},
        observe=observe,
        receive=lambda params, arrays, keys: arrays["label"],
        embed=embed,
        outputs=lambda value: {"label": value},
    )


def _select(request: Request, num_classes: int, dropout: float) -> np.ndarray:
    """int32 [B]: the requested labels in turn; otherwise the examples' own; otherwise all classes in turn."""
    labels = request.labels
    own = labels is None and request.rows and (request.offers("label") or not request.offers("known"))
    if own:
        labels = [row.get("label", -1) for row in request.rows]
        if -1 in labels and dropout == 0:
            raise UsageError("the examples have no labels, which this class-conditional model requires")
    labels = tuple(range(num_classes)) if labels is None else labels
    bad = sorted({label for label in labels if not -1 <= label < num_classes})
    if bad or not len(labels):
        raise UsageError(
            f"labels {bad} are not among the {num_classes} classes, 0 to {num_classes - 1} (-1: the null label)"
        )
    if -1 in labels and dropout == 0:
        raise UsageError(f"label -1 (the null label) requires a model trained with {_DROPOUT_FIELD} above 0")
    return np.asarray(labels, np.int32)[np.arange(len(labels)) if own else request.indices % len(labels)]
