"""The likelihood of test examples under a model that has a bound on it."""

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.data import Dataset
from bitdiff.data.dataset import stack
from bitdiff.inference.trained import Trained
from bitdiff.tasks import Score

_MOST_EXAMPLES = 2_000
_BATCH = 100
_DRAWS = 4  # of a time for each example


def likelihood_scores(run: Trained, dataset: Dataset) -> dict[str, Score]:
    """The bound in bits per value of test examples, or of training examples if there are none; {} without a bound.

    A value is a pixel's channel or a token.
    """
    if run.task.bound is None:
        return {}
    examples = stack(dataset.test if len(dataset.test) else dataset.train, _MOST_EXAMPLES)
    params = jax.tree.map(jnp.asarray, jax.device_get(run.params))
    compiled = jax.jit(run.task.bound)
    count = len(examples[run.task.field])
    # In random order, so that an example does not get times from the same part of [0, 1] in every draw.
    order = np.concatenate([np.random.RandomState(draw).permutation(count) for draw in range(_DRAWS)])
    bits = np.zeros(count)
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        batch = {name: jnp.asarray(array[rows]) for name, array in examples.items()}
        keys = jax.random.split(jax.random.fold_in(jax.random.key(0), start), len(rows))
        nats, values = jax.device_get(compiled(params, batch, keys))
        per_row = (nats / values / np.log(2.0)).reshape(len(rows), -1).mean(1)  # over the captions of a picture
        np.add.at(bits, rows, per_row / _DRAWS)
    about = f"upper bound on the bits per value of {count} {'test' if len(dataset.test) else 'training'} examples"
    return {"bits_per_value": Score(float(bits.mean()), f"{about}, standard error {bits.std() / len(bits) ** 0.5:.2g}")}
