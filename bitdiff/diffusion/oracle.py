"""The Bayes-optimal denoiser of a known discrete distribution, in closed form.

It isolates a sampler's error from any network's.
"""

import jax
import jax.numpy as jnp

from bitdiff.diffusion.guidance import Denoise

_MAX_SNR = 1e3  # for points whose largest coordinate is 1


def bayes_denoiser(points: jax.typing.ArrayLike, probabilities: jax.typing.ArrayLike) -> Denoise:
    """E[x0 | x_t] for an x0 that equals points[k] with probability probabilities[k].

    The posterior weight of a point is proportional to
    p_k exp((sqrt(gamma) x_t . y_k - gamma |y_k|^2 / 2) / (1 - gamma)), summed over positions if gamma differs there.

    Args:
      points: float [K, ...], the analog bits of each state.
      probabilities: float [K], non-negative; normalized here.

    Returns:
      denoise(x_t [B, ...], x0_prev, gamma_t [B], or [B, L]) -> the posterior mean [B, ...]; x0_prev is ignored.
    """
    points = jnp.asarray(points, jnp.float32)
    flat = points.reshape(len(points), -1)
    log_prior = jnp.log(jnp.asarray(probabilities, jnp.float32))
    max_snr = _MAX_SNR / jnp.max(flat**2)
    half_norms = 0.5 * jnp.sum(jnp.reshape(points, (*jnp.shape(points)[:2], -1)) ** 2, axis=-1)

    def denoise(x_t, x0_prev, gamma_t):
        del x0_prev
        g = jnp.broadcast_to(gamma_t.reshape(len(x_t), -1), (len(x_t), half_norms.shape[1]))
        # A higher ratio would not change the result, but would drown the other positions' terms in float32.
        snr = jnp.minimum(g / jnp.maximum(1.0 - g, 1e-7), max_snr)
        weighed = x_t.reshape(*g.shape, -1) * (snr / jnp.sqrt(g))[..., None]
        inner = jnp.matmul(weighed.reshape(len(x_t), -1), flat.T, precision="highest")
        logits = log_prior + inner - jnp.matmul(snr, half_norms.T, precision="highest")
        mean = jnp.matmul(jax.nn.softmax(logits), flat, precision="highest")
        return mean.reshape(x_t.shape)

    return denoise
