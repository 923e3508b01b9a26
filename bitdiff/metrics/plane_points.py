"""How close points in the plane are to a known mixture of equal isotropic Gaussians."""

import numpy as np
from scipy.optimize import linear_sum_assignment

_FAR = 4.0  # standard deviations from the nearest mode beyond which a point is an outlier: 0.03% of true points


def wasserstein_2(points: np.ndarray, reference: np.ndarray) -> float:
    """The 2-Wasserstein distance between two sets of equal size: the root mean square distance of the best pairing.

    Args:
      points: float [N, D].
      reference: float [N, D].
    """
    costs = ((points[:, None] - reference) ** 2).sum(-1)
    return float(np.sqrt(costs[linear_sum_assignment(costs)].mean()))


def outliers(points: np.ndarray, modes: np.ndarray, spread: float) -> float:
    """The fraction of points [N, D] that are more than four standard deviations from every mode [K, D]."""
    nearest = np.sqrt(((points[:, None] - modes) ** 2).sum(-1)).min(1)
    return float(np.mean(nearest > _FAR * spread))


def mode_tv(points: np.ndarray, modes: np.ndarray) -> float:
    """The total variation between the fractions of points nearest to each mode and equal fractions."""
    nearest = ((points[:, None] - modes) ** 2).sum(-1).argmin(1)
    return float(0.5 * np.abs(np.bincount(nearest, minlength=len(modes)) / len(points) - 1 / len(modes)).sum())


def curvature(trajectories: np.ndarray) -> np.ndarray:
    """Curvature of trajectories: the mean of |T_i - T_(i-1)| over that of |y_i - y_(i-1)|, with T the unit tangents.

    It is the ratio of means, because a point that hardly moves would dominate the mean of ratios.

    Args:
      trajectories: float [N, S, D], successive positions.

    Returns:
      float64 [S - 2], in 1 / length.
    """
    steps = np.diff(np.asarray(trajectories, np.float64), axis=1)
    lengths = np.linalg.norm(steps, axis=-1)
    tangents = steps / np.maximum(lengths, 1e-12)[..., None]
    return np.linalg.norm(np.diff(tangents, axis=1), axis=-1).mean(0) / lengths[:, :-1].mean(0)
