"""The isotropic Gaussian on rotations against its defining series, limits, autodiff and SciPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bitdiff.diffusion import so3

EPS = (0.05, 0.1, 0.5, 0.99, 1.0, 1.01, 1.5, 2.0)


def series(omega, eps, terms=2_000):
    """The series that defines f, in float64."""
    degrees = np.arange(terms)[:, None]
    weights = (2 * degrees + 1) * np.exp(-degrees * (degrees + 1) * eps**2)
    return np.sum(weights * np.sin((degrees + 0.5) * omega), axis=0) / np.sin(omega / 2)


@pytest.mark.parametrize("eps", EPS)
def test_the_density_equals_its_series(eps):
    omega = np.linspace(0.01, min(np.pi, 8 * eps), 200)
    # float32: a relative error of 1e-7 times the exponent of at most 16, plus rounding
    np.testing.assert_allclose(so3.density(omega, eps), series(omega, eps), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("eps", EPS)
def test_the_score_is_the_derivative_of_the_log_density(eps):
    omega = np.linspace(0.02, min(np.pi, 8 * eps) - 0.01, 100)
    step = 1e-5
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = (np.log(series(omega + step, eps)) - np.log(series(omega - step, eps))) / (2 * step)
    valid = series(omega, eps) > 1e-3 * series(omega, eps).max()  # elsewhere, the series cancels
    np.testing.assert_allclose(so3.score(omega, eps)[valid], slope[valid], rtol=1e-3, atol=1e-4)
    exact = jax.vmap(jax.grad(so3.log_density), (0, None))(jnp.asarray(omega), eps)
    np.testing.assert_allclose(so3.score(omega, eps), exact, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("eps", [0.01, *EPS])
def test_the_density_of_the_angle_integrates_to_1(eps):
    omega = np.linspace(0, min(np.pi, 12 * eps), 20_001)
    assert np.trapezoid(np.asarray(so3.angle_density(omega, eps), float), omega) == pytest.approx(1, abs=1e-4)


def test_small_angles_are_those_of_a_normal_distribution():
    eps = 0.01
    omega = np.linspace(0, 8 * eps, 50)
    normal = np.exp(-(omega**2) / (4 * eps**2)) / (4 * np.pi * eps**2) ** 1.5  # of rotation vectors
    # Uniform rotations have the density 1 / (8 pi^2) for rotation vectors near 0.
    np.testing.assert_allclose(so3.density(omega, eps) / (8 * np.pi**2), normal, rtol=1e-2)
    np.testing.assert_allclose(so3.score(omega, eps), -omega / (2 * eps**2), rtol=1e-2, atol=1e-2)
    assert so3.score_norm(eps) == pytest.approx(np.sqrt(3 * 2 * eps**2) / (2 * eps**2), rel=1e-2)


def test_a_large_eps_gives_uniform_rotations():
    omega = np.linspace(0, np.pi, 50)
    np.testing.assert_allclose(so3.density(omega, 4.0), 1, rtol=1e-5)
    np.testing.assert_allclose(so3.score(omega, 4.0), 0, atol=1e-5)
    assert so3.score_norm(4.0) < 1e-5


@pytest.mark.parametrize("eps", [0.03, 0.5, 1.5])
def test_rotations_have_the_moments_of_the_density(eps):
    count = 20_000
    vectors = np.asarray(jax.vmap(so3.draw, (0, None))(jax.random.split(jax.random.key(0), count), eps), float)
    angles = np.linalg.norm(vectors, axis=1)
    omega = np.linspace(1e-6, min(np.pi, 12 * eps), 20_001)
    weight = np.asarray(so3.angle_density(omega, eps), float)
    mean = np.trapezoid(weight * omega, omega)
    spread = np.sqrt(np.trapezoid(weight * (omega - mean) ** 2, omega))
    assert angles.mean() == pytest.approx(mean, abs=4 * spread / np.sqrt(count))
    assert angles.std() == pytest.approx(spread, rel=0.03)
    axes = vectors / angles[:, None]
    np.testing.assert_allclose(axes.mean(axis=0), 0, atol=4 / np.sqrt(3 * count))
    np.testing.assert_allclose(axes.T @ axes / count, np.eye(3) / 3, atol=0.02)


def test_rotation_matrices_are_scipys():
    vectors = np.random.default_rng(0).normal(size=(50, 3)) * np.geomspace(1e-6, 2, 50)[:, None]
    np.testing.assert_allclose(
        so3.to_matrix(jnp.asarray(vectors)), Rotation.from_rotvec(vectors).as_matrix(), atol=1e-6
    )
    gradient = jax.grad(lambda v: so3.to_matrix(v).sum())(jnp.zeros(3))
    assert np.isfinite(gradient).all()
