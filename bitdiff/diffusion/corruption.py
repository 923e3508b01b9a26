"""Corruption of x0, and the predictions a network can make (Analog Bits, section 2 and appendix B).

x_t = sqrt(gamma) x0 + sqrt(1 - gamma) eps, with eps standard normal and gamma = gamma(t). Wherever gamma is [B], it
may also be [B, L], for the positions of sequences [B, L, C].
"""

import jax
import jax.numpy as jnp

from bitdiff.runtime.errors import choose

PREDICTIONS = ("x0", "eps", "v")


def corrupt(x0: jax.Array, eps: jax.Array, gamma_t: jax.Array) -> jax.Array:
    """x_t = sqrt(gamma) x0 + sqrt(1 - gamma) eps; x0, eps float [B, ...], gamma_t float [B] in [0, 1]."""
    alpha, sigma = _alpha_sigma(gamma_t, x0.ndim)
    return alpha * x0 + sigma * eps


def target(x0: jax.Array, eps: jax.Array, gamma_t: jax.Array, prediction: str) -> jax.Array:
    """What a network with that prediction should output: x0, eps, or v = sqrt(gamma) eps - sqrt(1 - gamma) x0."""
    choose("prediction", prediction, PREDICTIONS)
    if prediction == "v":
        alpha, sigma = _alpha_sigma(gamma_t, x0.ndim)
        return alpha * eps - sigma * x0
    return x0 if prediction == "x0" else eps


def estimate_x0(
    output: jax.Array, x_t: jax.Array, gamma_t: jax.Array, *, prediction: str, clip: float | None
) -> jax.Array:
    """The estimate of x0 implied by a network's output, clipped to [-clip, clip] (None: not clipped).

    eps: (x_t - sqrt(1 - gamma) eps) / sqrt(gamma);  v: sqrt(gamma) x_t - sqrt(1 - gamma) v.
    """
    choose("prediction", prediction, PREDICTIONS)
    alpha, sigma = _alpha_sigma(gamma_t, x_t.ndim)
    if prediction == "eps":
        output = (x_t - sigma * output) / alpha
    elif prediction == "v":
        output = alpha * x_t - sigma * output
    return output if clip is None else jnp.clip(output, -clip, clip)


def error_factor(prediction: str, gamma_t: jax.Array) -> jax.Array:
    """The squared error of the implied x0 over the prediction's: 1, (1 - gamma) / gamma for eps, 1 - gamma for v."""
    choose("prediction", prediction, PREDICTIONS)
    if prediction == "x0":
        return jnp.ones_like(gamma_t)
    return (1.0 - gamma_t) / (gamma_t if prediction == "eps" else 1.0)


def _alpha_sigma(gamma_t: jax.Array, ndim: int) -> tuple[jax.Array, jax.Array]:
    gamma_t = jnp.reshape(gamma_t, gamma_t.shape + (1,) * (ndim - gamma_t.ndim))
    return jnp.sqrt(gamma_t), jnp.sqrt(1.0 - gamma_t)
