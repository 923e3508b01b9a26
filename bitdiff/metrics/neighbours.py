"""Distances to the nearest real example, which show whether samples are copies."""

import numpy as np

_ROWS = 512


def distances(samples: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Euclidean distance float64 [N] of each sample [N, d] to its nearest vector of real [M, d].

    The nearest is found by inner products and its distance then computed exactly: 0 means equal.
    """
    squares = np.sum(real.astype(np.float64) ** 2, axis=1)
    result = []
    for start in range(0, len(samples), _ROWS):
        rows = samples[start : start + _ROWS].astype(np.float64)
        nearest = np.argmin(squares - 2.0 * rows @ real.T.astype(np.float64), axis=1)
        result.append(np.linalg.norm(rows - real[nearest], axis=1))
    return np.concatenate(result)
