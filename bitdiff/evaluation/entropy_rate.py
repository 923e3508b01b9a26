"""The entropy rate of a trained model, and noise levels with equal integrals of it between them.

By the I-MMSE relation (Guo, Shamai and Verdu 2005), the information about x0 gained per unit of s = gamma / (1 - gamma)
is half the minimum mean squared error; per unit of lambda = ln s, it is s mse(lambda) / 2. CoBit spaces noise levels
by quantiles of the square root of this rate (Batzolis et al. 2026). It downweights small sigma, where a network's error
exceeds the minimum and the factor s amplifies the excess.
"""

from typing import NamedTuple

import numpy as np

from bitdiff import data
from bitdiff.evaluation.random_times import at_random_times
from bitdiff.inference.trained import Trained
from bitdiff.runtime.errors import UsageError

RANGE = (-9.0, 9.0)  # of lambda for bits +-1; beyond, bits are all noise or all data
_FLOOR = 0.01  # smallest density relative to the largest, so that no noise level is left out


class EntropyRate(NamedTuple):
    """The rate in equal intervals of lambda, float64 [bins] each; intervals without examples are interpolated."""

    log_snr: np.ndarray
    rate: np.ndarray


def entropy_rate(run: Trained, *, examples: int, rounds: int, bins: int, seed: int) -> EntropyRate:
    """Measures the rate on test examples, or on training examples if there are none.

    Conditions are dropped, and dropout is applied in the network, at the training rates; this raises the measured rate
    slightly.

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
        raise UsageError(
            "the entropy rate requires a model that denoises bits, pixels or points; "
            f"{run.folder} holds a model of the task {run.config.task!r}"
        )
    dataset = data.load(run.config.data)
    source = dataset.test if len(dataset.test) else dataset.train
    error, gamma = at_random_times(run, run.task.errors, source, examples=examples, rounds=rounds, seed=seed)
    return rate_of(error, gamma, bins, run.config.bits.scale)


def rate_of(error: np.ndarray, gamma: np.ndarray, bins: int, scale: float = 1.0) -> EntropyRate:
    """The rate from squared errors and noise levels, float64 [N] each, of bits +-scale.

    Raises:
      UsageError: no noise level lies within RANGE.
    """
    log_snr = np.log(gamma / (1.0 - gamma))
    edges = np.linspace(*RANGE, bins + 1) - 2.0 * np.log(scale)  # the same ratios of a bit's power to the noise
    interval = np.digitize(log_snr, edges) - 1
    inside = (interval >= 0) & (interval < bins)
    counts = np.bincount(interval[inside], minlength=bins)
    if not counts.any():
        limits = f"{edges[0]:.3g} to {edges[-1]:.3g}"
        raise UsageError(f"no noise level lies within ln(gamma / (1 - gamma)) = {limits}; raise the number of examples")
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
      cutoff: the sigma below which noise levels become rare, 0 for none; CoBit's is 0.2 for bits +-1 (0.1 for 0 and 1).

    Raises:
      UsageError: an argument is out of range.
    """
    if not power > 0 or count < 2 or not cutoff >= 0:
        raise UsageError(
            f"power is {power}, count {count} and cutoff {cutoff}; they must be above 0, 2 or more, and 0 or more"
        )
    density = np.maximum(rate.rate, 0.0) ** power / (1.0 + (cutoff * np.exp(rate.log_snr / 2.0)) ** 3)
    density = np.maximum(density, _FLOOR * density.max())
    width = rate.log_snr[1] - rate.log_snr[0]
    edges = np.append(rate.log_snr, rate.log_snr[-1] + width) - width / 2.0
    integral = np.concatenate([[0.0], np.cumsum(density)])
    return np.interp(np.linspace(integral[-1], 0.0, count), integral, edges)
