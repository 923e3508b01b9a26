"""The wrapped normal against sums in float64, autodiff, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.diffusion import poses, torus
from bitdiff.diffusion.poses import Move, Tree

SIGMA = (0.03, 0.3, 1.0, 3.14)
ANGLES = np.linspace(-np.pi, np.pi, 201)


@pytest.mark.parametrize("sigma", SIGMA)
def test_the_density_is_the_sum_over_images_and_integrates_to_1(sigma):
    images = ANGLES[:, None] + 2 * np.pi * np.arange(-20, 21)
    expected = np.exp(-0.5 * (images / sigma) ** 2).sum(axis=1) / (sigma * np.sqrt(2 * np.pi))
    found = np.exp(np.asarray(torus.log_density(ANGLES, sigma), float))
    # float32: a relative error of 1e-7 times twice the exponent, which is at most 69 where the density exceeds 1e-30
    np.testing.assert_allclose(found, expected, rtol=5e-5, atol=1e-30)
    fine = np.linspace(-np.pi, np.pi, 20_001)
    total = np.trapezoid(np.exp(np.asarray(torus.log_density(fine, sigma), float)), fine)
    assert total == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("sigma", SIGMA)
def test_the_score_is_the_gradient_of_the_log_density(sigma):
    angles = jnp.linspace(-3.1, 3.1, 101)
    slope = jax.vmap(jax.grad(torus.log_density), (0, None))(angles, sigma)
    np.testing.assert_allclose(torus.score(angles, sigma), slope, rtol=1e-4, atol=1e-5 / sigma**2)
    np.testing.assert_allclose(torus.score(angles + 2 * np.pi, sigma), slope, rtol=1e-3, atol=1e-5 / sigma**2)


def test_limits_of_the_score_norm():
    assert torus.score_norm(0.03) == pytest.approx(1 / 0.03, rel=1e-3)  # that of a normal distribution
    # For large sigma, the density is 1 + 2 exp(-sigma^2 / 2) cos(angle), relative to uniform.
    assert torus.score_norm(3.14) == pytest.approx(np.sqrt(2) * np.exp(-(3.14**2) / 2), rel=1e-2)
    norms = torus.score_norm(jnp.array([0.1, 0.5, 1.0]))
    assert norms.shape == (3,)
    rng = np.random.default_rng(0)
    drawn = torus.score(rng.normal(size=100_000) * 0.5, 0.5)
    assert norms[1] == pytest.approx(np.sqrt(np.mean(np.asarray(drawn) ** 2)), rel=0.01)  # 100,000 draws: 0.3%


def test_angles_are_wrapped():
    np.testing.assert_allclose(
        torus.wrap(jnp.array([0.0, 4.0, -4.0, 7.0])), [0, 4 - 2 * np.pi, 2 * np.pi - 4, 7 - 2 * np.pi], atol=1e-6
    )


def test_a_large_sigma_gives_uniform_angles():
    angle = np.linspace(-np.pi, np.pi, 50)
    # The first harmonic is 2 exp(-sigma^2 / 2) = 0.0007 of the mean.
    np.testing.assert_allclose(np.exp(torus.log_density(angle, 4.0)) * 2 * np.pi, 1, atol=1e-3)
    np.testing.assert_allclose(torus.score(angle, 4.0), 0, atol=1e-3)


@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0])
def test_drawn_torsions_have_the_first_moment_of_the_density(sigma):
    tree = Tree(jnp.ones(4, bool), jnp.array([[1, 2]]), jnp.zeros((1, 4), bool), jnp.ones(1, bool))
    sigmas = Move(*(jnp.array(sigma),) * 3)
    keys = jax.random.split(jax.random.key(0), 4_000)
    angle = np.asarray(jax.vmap(lambda key: poses.draw_noise(key, sigmas, tree).torsion[0])(keys))
    assert np.abs(angle).max() <= np.pi + 1e-6
    # The standard error of a mean of cosines is at most 0.012.
    assert np.cos(angle).mean() == pytest.approx(np.exp(-(sigma**2) / 2), abs=0.04)
    assert np.sin(angle).mean() == pytest.approx(0, abs=0.04)
