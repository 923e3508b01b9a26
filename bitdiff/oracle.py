"""The Bayes-optimal denoiser of a known discrete distribution, in closed form.

With it the sampler can be measured apart from any network.
"""

import jax
import jax.numpy as jnp

from bitdiff.sampling import Denoise

_MAX_SNR = 1e3


def bayes_denoiser(points: jax.Array, probabilities: jax.Array) -> Denoise:
    """E[x0 | x_t] for x0 that takes value points[k] with probability probabilities[k].

    The posterior weight of a point is proportional to
    p_k exp((sqrt(gamma) x_t . y_k - gamma |y_k|^2 / 2) / (1 - gamma)), a sum over positions where gamma differs there.

    Args:
      points: float [K, ...], the analog bits of each state.
      probabilities: float [K], positive where the state occurs; normalised here.

    Returns:
      denoise(x_t [B, ...], x0_prev, gamma_t [B], or [B, L]) -> the posterior mean [B, ...]; it needs no x0_prev.
    """
    flat = jnp.asarray(points, jnp.float32).reshape(len(points), -1)
    log_prior = jnp.log(jnp.asarray(probabilities, jnp.float32))
    half_norms = 0.5 * jnp.sum(jnp.reshape(points, (*jnp.shape(points)[:2], -1)) ** 2, axis=-1)

    def denoise(x_t, x0_prev, gamma_t):
        del x0_prev
        g = jnp.broadcast_to(gamma_t.reshape(len(x_t), -1), (len(x_t), half_norms.shape[1]))
        # More would not change the answer, but what is said of other positions would get lost in float32.
        snr = jnp.minimum(g / jnp.maximum(1.0 - g, 1e-7), _MAX_SNR)
        weighed = x_t.reshape(*g.shape, -1) * (snr / jnp.sqrt(g))[..., None]
        inner = jnp.matmul(weighed.reshape(len(x_t), -1), flat.T, precision="highest")
        logits = log_prior + inner - jnp.matmul(snr, half_norms.T, precision="highest")
        mean = jnp.matmul(jax.nn.softmax(logits), flat, precision="highest")
        return mean.reshape(x_t.shape)

    return denoise
