"""Denoisers built from other denoisers: guidance, and known values (Analog Bits, appendix G)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bitdiff.diffusion.corruption import corrupt, estimate_x0

# (x_t [B, ...], x0_prev [B, ...], gamma_t [B], or [B, L] if positions lag) -> network output [B, ...]
Denoise = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def guide(conditional: Denoise, unconditional: Denoise, guidance: float) -> Denoise:
    """Classifier-free guidance: cond + guidance (cond - uncond); guidance 0 is the conditional denoiser."""

    def denoise(x_t, x0_prev, gamma_t):
        output = conditional(x_t, x0_prev, gamma_t)
        return output + guidance * (output - unconditional(x_t, x0_prev, gamma_t))

    return denoise


def self_guide(denoise: Denoise, weight: float, *, prediction: str, clip: float | None) -> Denoise:
    """Guidance by self-conditioning (appendix G): w s + (1 - w) u, with two network evaluations per step.

    u is the output without an estimate, and s the output given the x0 estimate of u; the estimate of the previous
    step is not used. The paper finds weights of 3 to 5 best.
    """

    def guided(x_t, x0_prev, gamma_t):
        without = denoise(x_t, jnp.zeros_like(x0_prev), gamma_t)
        estimate = estimate_x0(without, x_t, gamma_t, prediction=prediction, clip=clip)
        return weight * denoise(x_t, estimate, gamma_t) + (1.0 - weight) * without

    return guided


def hold_known(denoise: Denoise, known: jax.Array, mask: jax.Array, keys: jax.Array) -> Denoise:
    """Holds some entries of x0 at known values, so that the others are sampled conditioned on them.

    Wherever the mask is set, the network sees the known value corrupted to its noise level (with the same noise at
    every step), and the estimate of x0 is the known value. The result only approximates the conditional
    distribution: at high noise levels, even the Bayes-optimal denoiser hardly sees the known values (see
    `hold_known_positions`).

    Args:
      denoise: a denoiser with prediction 'x0'.
      known: float [B, ...].
      mask: bool [B, ...].
      keys: PRNG keys [B] for the noise.
    """
    eps = jax.vmap(lambda key: jax.random.normal(key, known.shape[1:]))(keys)

    def held(x_t, x0_prev, gamma_t):
        x_t = jnp.where(mask, corrupt(known, eps, gamma_t), x_t)
        return jnp.where(mask, known, denoise(x_t, x0_prev, gamma_t))

    return held


def hold_known_positions(denoise: Denoise, known: jax.Array, mask: jax.Array) -> Denoise:
    """Holds some positions of sequences at known values, for a denoiser that takes a noise level per position.

    The network sees the known positions without noise, at gamma 1. With the Bayes-optimal denoiser, the other positions
    are samples of the exact conditional distribution.

    Args:
      denoise: a denoiser with prediction 'x0' that accepts gamma_t [B, L].
      known: float [B, L, C].
      mask: bool [B, L].
    """

    def held(x_t, x0_prev, gamma_t):
        gamma_t = gamma_t if gamma_t.ndim == 2 else gamma_t[:, None]
        x_t = jnp.where(mask[..., None], known, x_t)
        estimate = denoise(x_t, x0_prev, jnp.where(mask, 1.0, gamma_t))
        return jnp.where(mask[..., None], known, estimate)

    return held
