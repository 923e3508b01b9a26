"""The entropy rate of a trained model, and noise levels with equal integrals of it between them.

By the I-MMSE relation (Guo, Shamai and Verdu 2005), the information about x0 gained per unit of s = gamma / (1 - gamma)
is half the minimum mean squared error, so that per unit of lambda = ln s it is s mse(lambda) / 2. CoBit trains and
samples at equal quantiles of this rate to the power 1/2 (Batzolis et al. 2026).
"""

from typing import NamedTuple

import numpy as np

from bitdiff import data
from bitdiff.evaluation.random_times import at_random_times
from bitdiff.inference.trained import Trained
from bitdiff.runtime.errors import UsageError

RANGE = (-9.0, 9.0)  # of lambda; beyond, bits are all noise or all data
_FLOOR = 0.01  # smallest density relative to the largest, so that no noise level is left out


class EntropyRate(NamedTuple):
    """The rate in equal intervals of lambda, float64 [bins] each; intervals without examples are interpolated."""

    log_snr: np.ndarray
    rate: np.ndarray


def entropy_rate(run: Trained, *, examples: int, rounds: int, bins: int, seed: int) -> EntropyRate:
    """Measures the rate on test examples, or on training examples if there are none.

    Args:
      run: a model that is trained at random times.
      examples: maximum number of examples.
      rounds: how many times each is used, every time with a different t and different noise.
      bins: number of intervals.
      seed: seed of the times and the noise.

    Raises:
      UsageError: the model has no time, or no example's noise level lies within RANGE.
    """
    if run.task.errors is None:
        raise UsageError(f"{run.folder} holds a model without noise levels, such as an autoregressive one")
    dataset = data.load(run.config.data)
    source = dataset.test if len(dataset.test) else dataset.train
    error, gamma = at_random_times(run, run.task.errors, source, examples=examples, rounds=rounds, seed=seed)
    return rate_of(error, gamma, bins)


def rate_of(error: np.ndarray, gamma: np.ndarray, bins: int) -> EntropyRate:
    """The rate from squared errors and noise levels, float64 [N] each.

    Raises:
      UsageError: no noise level lies within RANGE.
    """
    log_snr = np.log(gamma / (1.0 - gamma))
    edges = np.linspace(*RANGE, bins + 1)
    interval = np.digitize(log_snr, edges) - 1
    inside = (interval >= 0) & (interval < bins)
    counts = np.bincount(interval[inside], minlength=bins)
    if not counts.any():
        raise UsageError(f"no noise level lies within ln(gamma / (1 - gamma)) = {RANGE}; raise the number of examples")
    sums = np.bincount(interval[inside], weights=(np.exp(log_snr) * error / 2.0)[inside], minlength=bins)
    centers, known = (edges[1:] + edges[:-1]) / 2.0, counts > 0
    return EntropyRate(centers, np.interp(centers, centers[known], sums[known] / counts[known]))


def equal_quantiles(rate: EntropyRate, *, power: float, count: int) -> np.ndarray:
    """`count` values of lambda, from data to noise, with equal integrals of rate^power between them; float64.

    Raises:
      UsageError: power is not above 0, or count is below 2.
    """
    if not power > 0 or count < 2:
        raise UsageError(f"power is {power} and count {count}; they must be above 0, and 2 or more")
    density = np.maximum(rate.rate, 0.0) ** power
    density = np.maximum(density, _FLOOR * density.max())
    edges = np.linspace(*RANGE, len(density) + 1)
    integral = np.concatenate([[0.0], np.cumsum(density)])
    return np.interp(np.linspace(integral[-1], 0.0, count), integral, edges)
