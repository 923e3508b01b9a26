"""The loss of a trained model as a function of t."""

import numpy as np

from bitdiff import data
from bitdiff.evaluation.random_times import at_random_times
from bitdiff.inference.trained import Trained
from bitdiff.runtime.errors import UsageError


def loss_by_time(run: Trained, *, examples: int, rounds: int, bins: int, seed: int) -> dict[float, float]:
    """The mean loss of test examples in equal intervals of t, by their midpoints.

    Conditions are dropped, and dropout is applied in the network, at the training rates.

    Args:
      run: a model that is trained at random times.
      examples: maximum number of test examples.
      rounds: how many times each is used, every time with a different t and different noise.
      bins: number of intervals.
      seed: seed of the times and the noise; runs on the same data are compared on the same noise.

    Raises:
      UsageError: the model has no time, or the data have no test examples.
    """
    if run.task.losses is None:
        raise UsageError(
            f"{run.folder} holds a model that is not trained at random times t, such as an autoregressive one"
        )
    dataset = data.load(run.config.data)
    if not len(dataset.test):
        raise UsageError(f"the data of {run.folder} have no test examples; set config.data.test_fraction")
    loss, t = at_random_times(run, run.task.losses, dataset.test, examples=examples, rounds=rounds, seed=seed)
    interval = np.minimum((t * bins).astype(int), bins - 1)
    return {(i + 0.5) / bins: float(loss[interval == i].mean()) for i in range(bins) if i in interval}
