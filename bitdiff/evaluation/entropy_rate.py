"""The entropy rate of a trained model, and noise levels with equal integrals of it between them.

By the I-MMSE relation (Guo, Shamai and Verdu 2005), the information about x0 gained per unit of s = gamma / (1 - gamma)
is half the minimum mean squared error, so that per unit of lambda = ln s it is s mse(lambda) / 2. CoBit trains and
samples at equal quantiles of this rate to the power 1/2, with less weight on small sigma (Batzolis et al. 2026): there,
a network's error exceeds the minimum, and s multiplies it.
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


def equal_quantiles(rate: EntropyRate, *, power: float, count: int, cutoff: float) -> np.ndarray:
    """`count` values of lambda, from data to noise, with equal integrals of a density between them; float64.

    The density is rate^power sigma^3 / (sigma^3 + cutoff^3), with sigma = exp(-lambda / 2).

    Args:
      rate: the entropy rate.
      power: above 0; 0.5 in CoBit.
      count: number of values, 2 or more.
      cutoff: the sigma below which noise levels become rare, in units of the scale of the bits, 0 for none; 0.2 in
        CoBit (0.1 for its bits 0 and 1).

    Raises:
      UsageError: an argument is out of range.
    """
    if not power > 0 or count < 2 or not cutoff >= 0:
        raise UsageError(
            f"power is {power}, count {count} and cutoff {cutoff}; they must be above 0, 2 or more, and 0 or more"
        )
    density = np.maximum(rate.rate, 0.0) ** power / (1.0 + (cutoff * np.exp(rate.log_snr / 2.0)) ** 3)
    density = np.maximum(density, _FLOOR * density.max())
    edges = np.linspace(*RANGE, len(density) + 1)
    integral = np.concatenate([[0.0], np.cumsum(density)])
    return np.interp(np.linspace(integral[-1], 0.0, count), integral, edges)
