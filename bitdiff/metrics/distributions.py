"""Distances between discrete distributions, and their expected values for perfect samples."""

import numpy as np
from scipy.special import gammaln, xlog1py, xlogy


def tv(samples: np.ndarray, states: np.ndarray, probabilities: np.ndarray) -> float:
    """Total variation between the empirical distribution of samples and a reference.

    Args:
      samples: int [N, L].
      states: int [K, L], distinct sequences.
      probabilities: float [K], the probability of each state.

    Returns:
      Half the summed absolute difference, 0 to 1; samples that are not among the states count in full.
    """
    known = {tuple(state): i for i, state in enumerate(np.asarray(states).tolist())}
    counts = np.zeros(len(states) + 1)
    sequences, numbers = np.unique(samples, axis=0, return_counts=True)
    for sequence, number in zip(sequences.tolist(), numbers, strict=True):
        counts[known.get(tuple(sequence), len(states))] += number
    return float(0.5 * np.abs(counts / len(samples) - np.append(probabilities, 0.0)).sum())


def tv_floor(probabilities: np.ndarray, count: int) -> float:
    """The expected total variation of `count` perfect samples, half the sum over states of E|p_hat - p|.

    By de Moivre's formula E|X - n p| = 2 m (1 - p) P(X = m), m = floor(n p) + 1, for X binomial.
    """
    p = np.asarray(probabilities, np.float64)
    p = p[p < 1.0]  # a certain state has no error
    m = np.floor(count * p) + 1
    log_binomial = gammaln(count + 1) - gammaln(m + 1) - gammaln(count - m + 1)
    pmf = np.exp(log_binomial + xlogy(m, p) + xlog1py(count - m, -p))  # scipy.stats takes a second to import
    return float(np.sum(m * (1.0 - p) * pmf) / count)


def marginal_tv(samples: np.ndarray, reference: np.ndarray, vocab_size: int) -> float:
    """Total variation of single tokens, int [N, L] against int [M, L], averaged over the L positions."""

    def histogram(column):
        return np.bincount(column, minlength=vocab_size) / len(column)

    columns = zip(np.transpose(samples), np.transpose(reference), strict=True)
    return float(np.mean([0.5 * np.abs(histogram(a) - histogram(b)).sum() for a, b in columns]))
