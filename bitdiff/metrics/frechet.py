"""The Frechet distance between Gaussians fitted to two sets of features, in float64 throughout."""

from typing import NamedTuple

import numpy as np

from bitdiff.runtime.errors import UsageError


class Moments(NamedTuple):
    """Mean float64 [d] and unbiased covariance float64 [d, d] of `count` feature vectors."""

    mean: np.ndarray
    covariance: np.ndarray
    count: int


def moments(features: np.ndarray) -> Moments:
    """The moments of features [N, d], N >= 2."""
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or len(features) < 2:
        raise UsageError(f"features of shape {features.shape}: at least two vectors [N, d] are needed")
    return Moments(
        features.mean(0), np.cov(features, rowvar=False, ddof=1).reshape(features.shape[1], -1), len(features)
    )


class Sums(NamedTuple):
    """Running sums of feature vectors in float64: count, total [d] and outer products [d, d]."""

    count: int
    total: np.ndarray
    outer: np.ndarray


def add(sums: Sums | None, features: np.ndarray) -> Sums:
    """Adds features [N, d] to running sums; None starts new sums."""
    features = np.asarray(features, np.float64)
    new = Sums(len(features), features.sum(0), features.T @ features)
    if sums is None:
        return new
    return Sums(sums.count + new.count, sums.total + new.total, sums.outer + new.outer)


def finish(sums: Sums) -> Moments:
    """The moments of everything added, at least two vectors."""
    if sums.count < 2:
        raise UsageError(f"the number of images is {sums.count}; a covariance needs at least two")
    mean = sums.total / sums.count
    covariance = (sums.outer - sums.count * np.outer(mean, mean)) / (sums.count - 1)
    return Moments(mean, covariance, sums.count)


def distance(a: Moments, b: Moments) -> float:
    """|mean_a - mean_b|^2 + tr(A + B - 2 (A^(1/2) B A^(1/2))^(1/2)), with symmetric eigendecompositions."""
    values, vectors = np.linalg.eigh(a.covariance)
    root = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    cross = np.linalg.eigvalsh(root @ b.covariance @ root)
    trace = np.trace(a.covariance) + np.trace(b.covariance) - 2.0 * np.sqrt(np.maximum(cross, 0.0)).sum()
    return float(np.sum((a.mean - b.mean) ** 2) + trace)
