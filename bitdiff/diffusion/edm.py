"""EDM's preconditioning, time input and loss weight (Karras et al. 2022, table 1), in terms of gamma.

With sigma^2 = 1 / gamma - 1, y = x_t / sqrt(gamma), and sigma_d the standard deviation of the data, the estimate of x0
is c_skip y + c_out F(c_in y, c_noise). With sigma_d = 1, the network F predicts -v.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# (c_in y [B, ...], c_noise [B]) -> F [B, ...]
RawNetwork = Callable[[jax.Array, jax.Array], jax.Array]


def noise_to_signal(gamma_t: jax.Array) -> jax.Array:
    """EDM's sigma in float32, at least 1e-4: below that, float32 cannot distinguish gamma from 1."""
    return jnp.sqrt(jnp.maximum(1.0 - gamma_t, 1e-8) / gamma_t)


def precondition(network: RawNetwork, x_t: jax.Array, gamma_t: jax.Array, sigma_data: float) -> jax.Array:
    """The estimate of x0 from the output of a raw network (Karras et al. 2022, equation 7).

    c_skip = sigma_d^2 / (sigma^2 + sigma_d^2), c_out = sigma sigma_d / sqrt(sigma^2 + sigma_d^2),
    c_in = 1 / sqrt(sigma^2 + sigma_d^2).

    Args:
      network: (c_in y [B, ...], c_noise [B]) -> F [B, ...].
      x_t: float [B, ...].
      gamma_t: float [B].
      sigma_data: standard deviation of the data, above 0.

    Returns:
      float [B, ...].
    """
    sigma = noise_to_signal(gamma_t).reshape(-1, *(1,) * (x_t.ndim - 1))
    total = jnp.sqrt(sigma**2 + sigma_data**2)
    y = x_t / jnp.sqrt(gamma_t).reshape(sigma.shape)
    return (sigma_data / total) ** 2 * y + sigma * sigma_data / total * network(y / total, c_noise(gamma_t))


def c_noise(gamma_t: jax.Array) -> jax.Array:
    """The network's time input, ln(sigma) / 4."""
    return jnp.log(noise_to_signal(gamma_t)) / 4.0


def loss_weight(gamma_t: jax.Array, sigma_data: float) -> jax.Array:
    """(sigma^2 + sigma_d^2) / (sigma sigma_d)^2, which weights the raw network's error equally at every level."""
    sigma = noise_to_signal(gamma_t)
    return (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2
