"""Inception Score, KID, precision and recall from features, computed in float64 on the host."""

from typing import NamedTuple

import numpy as np
from scipy.special import log_softmax

from bitdiff.runtime.errors import UsageError

_SEED = 2020  # torch-fidelity's seed for image order and subsets, so that scores are comparable
_ROWS = 1_000
NEIGHBOURS = 3  # the k of precision and recall


class Estimate(NamedTuple):
    """The mean and standard deviation of a score over parts of the data."""

    mean: float
    std: float


def inception_score(logits: np.ndarray, splits: int = 10) -> Estimate:
    """exp E KL(p(y|x) || p(y)) of logits [N, classes], over shuffled splits (Salimans et al. 2016)."""
    if len(logits) < splits:
        raise UsageError(f"{len(logits)} images are too few for {splits} Inception Score splits; use at least {splits}")
    order = np.random.RandomState(_SEED).permutation(len(logits))
    log_p = log_softmax(np.asarray(logits, np.float64)[order], axis=1)
    scores = []
    for i in range(splits):
        part = log_p[i * len(log_p) // splits : (i + 1) * len(log_p) // splits]
        marginal = np.exp(part).mean(0)
        scores.append(np.exp(np.sum(np.exp(part) * (part - np.log(marginal)), axis=1).mean()))
    return Estimate(float(np.mean(scores)), float(np.std(scores)))


def kid(a: np.ndarray, b: np.ndarray, subsets: int = 100, subset_size: int = 1000) -> Estimate:
    """Kernel distance: the unbiased squared MMD of features [N, d], [M, d] (Binkowski et al. 2018).

    The kernel is (x . y / d + 1)^3; the mean is over random subsets of both.

    Raises:
      UsageError: there are fewer features than a subset holds.
    """
    if min(len(a), len(b)) < subset_size:
        raise UsageError(f"{len(a)} and {len(b)} images are too few for KID's subsets of {subset_size}")
    rng = np.random.RandomState(_SEED)
    a, b = (np.asarray(features, np.float64) for features in (a, b))

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1.0) ** 3

    def off_diagonal_mean(k):
        return (k.sum() - np.trace(k)) / (len(k) * (len(k) - 1))

    values = []
    for _ in range(subsets):
        x = a[rng.choice(len(a), subset_size, replace=False)]
        y = b[rng.choice(len(b), subset_size, replace=False)]
        values.append(off_diagonal_mean(kernel(x, x)) + off_diagonal_mean(kernel(y, y)) - 2.0 * kernel(x, y).mean())
    return Estimate(float(np.mean(values)), float(np.std(values)))


def precision_recall(generated: np.ndarray, real: np.ndarray, neighbours: int = NEIGHBOURS) -> tuple[float, float]:
    """The fraction of generated images within the real images' manifold, and the reverse (Kynkaanniemi et al. 2019).

    A set's manifold is the union of balls around its features [N, d], each with a radius equal to the distance to its
    k-th nearest neighbor.
    """
    if min(len(generated), len(real)) <= neighbours:
        raise UsageError(
            f"{len(generated)} generated and {len(real)} real images are too few for precision and recall, which need "
            f"more than {neighbours} of each"
        )
    generated, real = (np.asarray(features, np.float64) for features in (generated, real))
    return _covered(generated, real, neighbours), _covered(real, generated, neighbours)


def _covered(points: np.ndarray, centres: np.ndarray, neighbours: int) -> float:
    radii = np.concatenate(
        [np.partition(rows, neighbours, axis=1)[:, neighbours] for rows in _distances(centres, centres)]
    )
    return float(np.mean(np.concatenate([(rows <= radii).any(axis=1) for rows in _distances(points, centres)])))


def _distances(a: np.ndarray, b: np.ndarray):
    """Yields squared distances [rows, len(b)], a block of rows of `a` at a time, clipped at 0."""
    squares = np.sum(b**2, axis=1)
    for start in range(0, len(a), _ROWS):
        rows = a[start : start + _ROWS]
        yield np.maximum(np.sum(rows**2, axis=1)[:, None] + squares - 2.0 * rows @ b.T, 0.0)
