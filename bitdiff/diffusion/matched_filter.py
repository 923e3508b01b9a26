r"""The posterior of bits given the noisy bits alone, added to a network's logits (Batzolis et al. 2026, "CoBit").

For independent, equally likely bits +-b and x_t = sqrt(gamma) x0 + sqrt(1 - gamma) eps,

    log p(+b | x_t) / p(-b | x_t) = 2 b sqrt(gamma) x_t / (1 - gamma),

so that a network that outputs zero is already Bayes-optimal for them, and learns only what the context adds.
"""

import jax
import jax.numpy as jnp

_LIMIT = 30.0  # bound on the log odds of a bit, as in CoBit


def bit_log_odds(x_t: jax.Array, gamma_t: jax.Array, scale: float) -> jax.Array:
    """The log odds of +scale for every noisy bit, within +-30.

    Args:
      x_t: float [B, ..., C], noisy bits.
      gamma_t: float [B], or [B, ...] with one noise level per position.
      scale: b.

    Returns:
      float [B, ..., C].
    """
    gamma = gamma_t.reshape(*gamma_t.shape, *(1,) * (x_t.ndim - gamma_t.ndim))
    odds = 2.0 * scale * jnp.sqrt(gamma) * x_t / jnp.maximum(1.0 - gamma, 1e-6)
    return jnp.clip(odds, -_LIMIT, _LIMIT)


def code_logits(odds: jax.Array, codes: jax.Array) -> jax.Array:
    """The logits of K values with these codes: the sum of the log odds of their bits, up to a constant.

    Args:
      odds: float [B, ..., C * num_bits], from `bit_log_odds`.
      codes: float [K, num_bits], the analog bits +-b of each value.

    Returns:
      float [B, ..., C * K].
    """
    signs = jnp.sign(codes) / 2.0
    grouped = odds.reshape(*odds.shape[:-1], -1, codes.shape[-1])
    return (grouped @ signs.T).reshape(*odds.shape[:-1], -1)
