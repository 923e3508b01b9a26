"""Distances between discrete distributions, and what they are for perfect samples."""

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy


def tv(samples: np.ndarray, states: np.ndarray, shares: np.ndarray) -> float:
    """Total variation between the empirical distribution of samples and a reference.

    Args:
      samples: int [N, L].
      states: int [K, L], distinct sequences.
      shares: float [K], their probabilities.

    Returns:
      Half the summed absolute difference, 0 to 1; samples that are no state count in full.
    """
    known = {tuple(state): i for i, state in enumerate(np.asarray(states).tolist())}
    counts = np.zeros(len(states) + 1)
    sequences, numbers = np.unique(samples, axis=0, return_counts=True)
    for sequence, number in zip(sequences.tolist(), numbers, strict=True):
        counts[known.get(tuple(sequence), len(states))] += number
    return float(0.5 * np.abs(counts / len(samples) - np.append(shares, 0.0)).sum())


def tv_floor(shares: np.ndarray, count: int) -> float:
    """The expected total variation of `count` perfect samples, half the sum over states of E|p_hat - p|.

    By de Moivre's formula E|X - n p| = 2 m (1 - p) P(X = m), m = floor(n p) + 1, for X binomial.
    """
    shares = np.asarray(shares, np.float64)
    shares = shares[shares < 1.0]  # what is certain is met exactly
    m = np.floor(count * shares) + 1
    ways = gammaln(count + 1) - gammaln(m + 1) - gammaln(count - m + 1)
    probability = np.exp(ways + xlogy(m, shares) + xlog1py(count - m, -shares))  # scipy.stats takes a second to import
    return float(np.sum(m * (1.0 - shares) * probability) / count)


def marginal_tv(samples: np.ndarray, reference: np.ndarray, vocab_size: int) -> float:
    """Total variation of single tokens, int [N, L] against int [M, L], averaged over the L positions."""

    def histogram(column):
        return np.bincount(column, minlength=vocab_size) / len(column)

    columns = zip(np.transpose(samples), np.transpose(reference), strict=True)
    return float(np.mean([0.5 * np.abs(histogram(a) - histogram(b)).sum() for a, b in columns]))
