"""The training loss: corruption at a random time, with self-conditioning (Analog Bits, section 3.2, algorithm 1)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.diffusion.corruption import corrupt, estimate_x0, target
from bitdiff.diffusion.objectives import Objective
from bitdiff.diffusion.schedules import Schedule, lagged
from bitdiff.runtime.errors import UsageError

# (x_t [B, ...], x0_prev [B, ...], gamma_t [B], condition: any pytree of [B, ...]) -> output [B, ...]
Network = Callable[[jax.Array, jax.Array, jax.Array, Any], jax.Array]


class TrainedGuidance(NamedTuple):
    """Guidance by self-conditioning as part of training, so that sampling with it takes one evaluation per step.

    The network also receives ln w. It learns w D(x0_prev) + (1 - w) D(0), where D is the same network at w = 1, so that
    one evaluation approximates the two of `guidance.self_guide` (as in ELF, for text; arXiv 2605.10938).

    weight: float [B], the w of each example.
    plain: what the network is conditioned on at w = 1, a pytree like the condition at w.
    """

    weight: jax.Array
    plain: Any


def self_conditioned_rows(batch_size: int, rate: float) -> np.ndarray:
    """The rows of a device's batch that are self-conditioned: a fixed fraction, evenly spread.

    Evenly spread rows (every second one at rate 0.5) are the same global examples for any number of
    devices, as long as batch_size * rate is an integer on each.

    Raises:
      UsageError: rate is outside [0, 1], or batch_size * rate is not an integer.
    """
    if not 0 <= rate <= 1:
        raise UsageError(f"the self-conditioning rate is {rate}; it must be from 0 to 1")
    if abs(batch_size * rate - round(batch_size * rate)) > 1e-6:
        raise UsageError(
            f"a batch of {batch_size} per device cannot be self-conditioned at rate {rate}: "
            f"{batch_size} * {rate} must be an integer"
        )
    edges = np.floor(np.arange(batch_size + 1) * rate + 1e-6)
    return np.flatnonzero(np.diff(edges))


def denoising_loss(
    network: Network,
    x0: jax.Array,
    keys: jax.Array,
    condition: Any = None,
    *,
    gamma: Schedule,
    objective: Objective,
    self_cond_rate: float = 0.5,
    clip: float | None = 1.0,
    lag: float = 0.0,
    weight: Callable[[jax.Array], jax.Array] | None = None,
    trained_guidance: TrainedGuidance | None = None,
) -> tuple[jax.Array, jax.Array]:
    """The training loss at a random time per example (Analog Bits, equation 2 and algorithm 1).

    For a fixed fraction of the examples, the network is first evaluated with a zero estimate, and its
    estimate of x0, with no gradient through it, becomes their x0_prev; the others get zeros. This first
    pass evaluates those rows alone and is never differentiated, so at rate 0.5 it costs half a forward pass.

    Args:
      network: (x_t, x0_prev, gamma_t, condition) -> output, as in `Network`.
      x0: float [B, ...], clean data.
      keys: PRNG keys [B], one per example: an example's noise does not depend on the rest of the batch.
      condition: pytree of arrays [B, ...] passed to the network, or None.
      gamma: the training schedule.
      objective: the meaning of the output, and its error.
      self_cond_rate: fraction of self-conditioned rows, 0 to 1; at 0, x0_prev is zero everywhere.
      clip: bound on the estimate fed back.
      lag: the largest lag of a sequence's positions, see `schedules.lagged`; each sequence [L, C] draws its own
        lag uniformly from [0, lag], and gamma_t is then [B, L]. With 0, all positions have the same time.
      weight: gamma_t, [B] or with a lag [B, L] -> the weights of the loss, of the same shape; None for 1.
      trained_guidance: the guidance to learn, for an l2 objective that predicts x0; it costs another forward pass of
        the self-conditioned rows. None to train without it.

    Returns:
      (loss float32 [B]; t float32 [B], the time of each example).
    """
    gamma_t, t, eps = _noise(x0, keys, gamma, lag)
    x_t = corrupt(x0, eps, gamma_t)

    x0_prev, aim = jnp.zeros_like(x_t), target(x0, eps, gamma_t, objective.prediction)
    rows = self_conditioned_rows(len(x0), self_cond_rate)
    if len(rows):
        plain = condition if trained_guidance is None else trained_guidance.plain
        x_rows, gamma_rows, condition_rows = jax.tree.map(lambda a: a[rows], (x_t, gamma_t, plain))
        output = objective.readout(network(x_rows, jnp.zeros_like(x_rows), gamma_rows, condition_rows))
        estimate = estimate_x0(output, x_rows, gamma_rows, prediction=objective.prediction, clip=clip)
        x0_prev = x0_prev.at[rows].set(jax.lax.stop_gradient(estimate).astype(x0.dtype))
        if trained_guidance is not None:
            better = objective.readout(network(x_rows, x0_prev[rows], gamma_rows, condition_rows))
            excess = trained_guidance.weight[rows].reshape(-1, *(1,) * (x0.ndim - 1)) - 1.0
            aim = aim.at[rows].add(jax.lax.stop_gradient(excess * (better - output)).astype(aim.dtype))

    output = network(x_t, x0_prev, gamma_t, condition)
    error = objective.error(output, aim)
    if weight is not None:
        factor = weight(gamma_t)
        error = factor.reshape(*factor.shape, *(1,) * (error.ndim - factor.ndim)) * error
    return jnp.mean(error.reshape(len(x0), -1), axis=1), t


def _noise(x0: jax.Array, keys: jax.Array, gamma: Schedule, lag: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """A noise level gamma_t [B] (or [B, L]), the time t [B] and the noise eps [B, ...] of each example."""
    time_keys, eps_keys = jax.vmap(jax.random.split)(keys).T
    t = jax.vmap(jax.random.uniform)(time_keys)
    eps = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:], x0.dtype))(eps_keys)
    if not lag:
        return gamma(t), t, eps
    lags = lag * jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 0)))(time_keys)
    return gamma(jax.vmap(lambda t, lag: lagged(t, x0.shape[1], lag))(t, lags)), t, eps
