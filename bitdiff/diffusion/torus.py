"""The wrapped normal distribution of angles, for torsions (Jing et al. 2022)."""

import jax
import jax.numpy as jnp

_IMAGES = 6  # at sigma = pi, the next image has a weight below 1e-36
_GRID = 1_024


def log_density(angle: jax.typing.ArrayLike, sigma: jax.typing.ArrayLike) -> jax.Array:
    """The logarithm of the sum over k of N(angle + 2 pi k; 0, sigma^2); sigma in (0, 4], broadcast."""
    shifted, sigma = _shifted(angle, sigma)
    exponents = -0.5 * (shifted / sigma[..., None]) ** 2
    return jax.nn.logsumexp(exponents, axis=-1) - jnp.log(sigma * jnp.sqrt(2.0 * jnp.pi))


def score(angle: jax.typing.ArrayLike, sigma: jax.typing.ArrayLike) -> jax.Array:
    """The derivative of `log_density` with respect to the angle; sigma in (0, 4], broadcast."""
    shifted, sigma = _shifted(angle, sigma)
    weights = jax.nn.softmax(-0.5 * (shifted / sigma[..., None]) ** 2, axis=-1)
    return -jnp.sum(weights * shifted, axis=-1) / sigma**2


def score_norm(sigma: jax.typing.ArrayLike) -> jax.Array:
    """The root mean square of `score` over the angles drawn with sigma [...]."""
    sigma = jnp.asarray(sigma, float)[..., None]
    angle = (jnp.arange(_GRID) + 0.5) / _GRID * jnp.minimum(10.0 * sigma, jnp.pi)
    weight = jnp.exp(log_density(angle, sigma))
    return jnp.sqrt(jnp.sum(weight * score(angle, sigma) ** 2, axis=-1) / jnp.sum(weight, axis=-1))


def wrap(angle: jax.Array) -> jax.Array:
    """The same angle in [-pi, pi)."""
    return (angle + jnp.pi) % (2.0 * jnp.pi) - jnp.pi


def _shifted(angle: jax.typing.ArrayLike, sigma: jax.typing.ArrayLike) -> tuple[jax.Array, jax.Array]:
    angle, sigma = jnp.broadcast_arrays(jnp.asarray(angle, float), jnp.asarray(sigma, float))
    return wrap(angle)[..., None] + 2.0 * jnp.pi * jnp.arange(-_IMAGES, _IMAGES + 1), sigma
