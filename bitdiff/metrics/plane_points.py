"""How near points in the plane come to a known mixture of equal round Gaussians."""

import numpy as np
from scipy.optimize import linear_sum_assignment

_FAR = 4.0  # deviations from the nearest mode, beyond which a point is an outlier: 0.03 % of true points


def wasserstein_2(points: np.ndarray, reference: np.ndarray) -> float:
    """The 2-Wasserstein distance between two equally large sets: the best pairing's root mean squared distance.

    Args:
      points: float [N, D].
      reference: float [N, D].
    """
    costs = ((points[:, None] - reference) ** 2).sum(-1)
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean()))


def outliers(points: np.ndarray, modes: np.ndarray, spread: float) -> float:
    """The share of points [N, D] that are more than four deviations from every mode [K, D]."""
    nearest = np.sqrt(((points[:, None] - modes) ** 2).sum(-1)).min(1)
    return float(np.mean(nearest > _FAR * spread))


def mode_tv(points: np.ndarray, modes: np.ndarray) -> float:
    """The total variation between the shares of points nearest to each mode and equal shares."""
    nearest = ((points[:, None] - modes) ** 2).sum(-1).argmin(1)
    return float(0.5 * np.abs(np.bincount(nearest, minlength=len(modes)) / len(points) - 1 / len(modes)).sum())


def curvature(path: np.ndarray) -> np.ndarray:
    """How much ways bend: the mean of |T_i - T_(i-1)| over that of |y_i - y_(i-1)|, with T the unit tangents.

    The ratio of means, and not the mean ratio: a point that hardly moves would outweigh all others in it.

    Args:
      path: float [N, S, D], positions one after the other.

    Returns:
      float64 [S - 2], in 1 / length.
    """
    steps = np.diff(np.asarray(path, np.float64), axis=1)
    lengths = np.linalg.norm(steps, axis=-1)
    tangents = steps / np.maximum(lengths, 1e-12)[..., None]
    return np.linalg.norm(np.diff(tangents, axis=1), axis=-1).mean(0) / lengths[:, :-1].mean(0)
