"""Progressive distillation: a student learns to match two DDIM steps of its teacher with one (Salimans and Ho 2022)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

# (x_t [B, ...], x0_prev [B, ...], gamma_t [B]) -> the estimate of x0 [B, ...].
Estimate = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def draw_times(keys: jax.Array, steps: int) -> jax.Array:
    """Times float32 [B] at which a sampler evaluates the network: i / steps, with i uniform from 1 to steps."""
    return jax.vmap(lambda key: jax.random.randint(key, (), 1, steps + 1))(keys) / steps


def two_step_target(
    estimate: Estimate, x_t: jax.Array, x0_prev: jax.Array, gammas: tuple[jax.Array, jax.Array, jax.Array]
) -> jax.Array:
    """The estimate of x0 with which one DDIM step reaches the same point as the teacher's two (algorithm 2).

    x0 = (x'' - (sigma'' / sigma) x_t) / (alpha'' - (sigma'' / sigma) alpha), where x'' is the teacher's endpoint.

    Args:
      estimate: the teacher's, clipped.
      x_t: float [B, ...].
      x0_prev: float [B, ...], self-conditioning for the teacher's first step; its second uses the first one's estimate.
      gammas: gamma [B] at the time of x_t, after one and after two steps of the teacher.

    Returns:
      float [B, ...].
    """
    first = estimate(x_t, x0_prev, gammas[0])
    x_middle = ddim(x_t, first, gammas[0], gammas[1])
    x_end = ddim(x_middle, estimate(x_middle, first, gammas[1]), gammas[1], gammas[2])
    now, _, end = (gamma.reshape(-1, *(1,) * (x_t.ndim - 1)) for gamma in gammas)
    ratio = jnp.sqrt((1.0 - end) / (1.0 - now))
    return (x_end - ratio * x_t) / (jnp.sqrt(end) - ratio * jnp.sqrt(now))


def truncated_snr(gamma: jax.Array) -> jax.Array:
    """max(gamma / (1 - gamma), 1), the weight of the squared error of x0 (equation 9)."""
    return jnp.maximum(gamma / (1.0 - gamma), 1.0)


def ddim(x_t: jax.Array, x0: jax.Array, now: jax.Array, then: jax.Array) -> jax.Array:
    """A DDIM step to gamma `then` from x_t [B, ...] at gamma `now`, given an estimate of x0; both gammas are [B]."""
    now, then = (gamma.reshape(-1, *(1,) * (x_t.ndim - 1)) for gamma in (now, then))
    eps = (x_t - jnp.sqrt(now) * x0) / jnp.sqrt(1.0 - now)
    return jnp.sqrt(then) * x0 + jnp.sqrt(1.0 - then) * eps
