"""The likelihood of test examples under a model that has a bound on it."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.data import Dataset
from bitdiff.data.dataset import rows
from bitdiff.evaluation.judge import Judge
from bitdiff.inference.trained import Trained
from bitdiff.tasks import Score

_MOST_EXAMPLES = 2_000
_LARGEST_BATCH = 100
_DRAWS = 4  # random times for each example


def open_likelihood(run: Trained) -> Judge | None:
    """The judge that reports a model's bound in bits per value of test examples; None if the model has no bound.

    A value is a pixel's channel or a token. The samples do not matter.
    """
    if run.task.bound is None:
        return None
    return Judge("likelihood", {"draws": _DRAWS}, lambda outputs, dataset: bits_per_value(run, dataset))


def bits_per_value(run: Trained, dataset: Dataset) -> dict[str, Score]:
    """The bound, averaged over test examples, or over training examples if there are none."""
    assert run.task.bound is not None
    source = dataset.test if len(dataset.test) else dataset.train
    count = min(len(source), _MOST_EXAMPLES)
    chosen = np.linspace(0, len(source), count, endpoint=False).astype(int)
    params = jax.tree.map(jnp.asarray, jax.device_get(run.params))
    compiled = jax.jit(partial(run.task.bound, params))
    batch_size = min(_LARGEST_BATCH, run.config.sample.batch_size)
    # In random order, so that an example does not get times from the same part of [0, 1] in every draw.
    order = np.concatenate([np.random.RandomState(draw).permutation(count) for draw in range(_DRAWS)])
    bits = np.zeros(count)
    for start in range(0, len(order), batch_size):
        indices = order[start : start + batch_size]
        batch = {name: jnp.asarray(array) for name, array in rows(source, chosen[indices]).items()}
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), start), len(indices))
        nats, values = jax.device_get(compiled(batch, keys))
        per_row = (nats / values / np.log(2.0)).reshape(len(indices), -1).mean(1)  # over the captions of a picture
        np.add.at(bits, indices, per_row / _DRAWS)
    about = f"{describe_bound(run, dataset)}, standard error {bits.std() / count**0.5:.2g}"
    return {"bits_per_value": Score(float(bits.mean()), about)}


def describe_bound(run: Trained, dataset: Dataset) -> str:
    """What `bits_per_value` measures, in words."""
    count = min(len(dataset.test) or len(dataset.train), _MOST_EXAMPLES)
    about = f"upper bound on the bits per value of {count:,} {'test' if len(dataset.test) else 'training'} examples"
    if run.config.data.num_classes:
        about += " given their labels"
    if dataset.field == "captions":
        about += " given their pictures, padding included"
    return about
