"""Corruption, predictions, losses and self-conditioning (Analog Bits, sections 2 and 3, appendix B).

x_t = sqrt(gamma) x0 + sqrt(1 - gamma) eps, with eps standard normal and gamma = gamma(t). Wherever gamma is [B], it
may be [B, L] too, for the positions of sequences [B, L, C].
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.errors import UsageError, choose
from bitdiff.schedules import Schedule, lagged

PREDICTIONS = ("x0", "eps", "v")

LOSSES = ("l2", "logistic", "softmax", "cross_entropy")

# (x_t [B, ...], x0_prev [B, ...], gamma_t [B], condition: any pytree of [B, ...]) -> output [B, ...]
Network = Callable[[jax.Array, jax.Array, jax.Array, Any], jax.Array]


class Objective(NamedTuple):
    """What a network's output means, and what it is trained for.

    prediction: 'x0', 'eps' or 'v': what `readout` gives.
    readout: output [B, ...] -> the prediction, of the shape of x0.
    error: (output, target of the shape of x0) -> float32 [B].
    """

    prediction: str
    readout: Callable[[jax.Array], jax.Array]
    error: Callable[[jax.Array, jax.Array], jax.Array]


def l2(prediction: str, readout: Callable[[jax.Array], jax.Array] = lambda output: output) -> Objective:
    """The mean squared error of the readout (section 2), the default; the readout is the output itself."""
    choose("prediction", prediction, PREDICTIONS)

    def error(output, wanted):
        return _mean((readout(output) - wanted).astype(jnp.float32) ** 2)

    return Objective(prediction, readout, error)


def logistic(scale: float) -> Objective:
    """Sigmoid cross-entropy of every bit: -log sigmoid(x0 f / b); the estimate is (2 sigmoid(f) - 1) b."""

    def error(output, wanted):
        return _mean(-jax.nn.log_sigmoid((output * wanted / scale).astype(jnp.float32)))

    return Objective("x0", lambda output: (2.0 * jax.nn.sigmoid(output) - 1.0) * scale, error)


def softmax(num_classes: int, scale: float) -> Objective:
    """Cross-entropy within one-hot groups of channels; with p the softmax, the estimate is (2 p - 1) b."""

    def grouped(x):
        return x.reshape(*x.shape[:-1], -1, num_classes)

    def readout(output):
        return ((2.0 * jax.nn.softmax(grouped(output)) - 1.0) * scale).reshape(output.shape)

    def error(output, wanted):
        chosen = grouped(wanted) > 0
        return _mean(-jnp.sum(jnp.where(chosen, jax.nn.log_softmax(grouped(output).astype(jnp.float32)), 0.0), axis=-1))

    return Objective("x0", readout, error)


def factorised_softmax(codes: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """A readout: logits over K values -> the average of their codes weighted by the softmax (section 3).

    Args:
      codes: float [K, num_bits], the analog bits of each value.

    Returns:
      float [..., C * K] -> float [..., C * num_bits].
    """

    def readout(output):
        weights = jax.nn.softmax(output.reshape(*output.shape[:-1], -1, len(codes)))
        return (weights @ codes).reshape(*output.shape[:-1], -1)

    return readout


def cross_entropy(codes: jax.Array, decode: Callable[[jax.Array], jax.Array]) -> Objective:
    """Cross-entropy of the value, with the readout of `factorised_softmax` (as in SCD-Net, Luo et al. 2023).

    Args:
      codes: float [K, num_bits], the analog bits of each value.
      decode: float [..., C * num_bits] -> int [..., C], the values of x0.
    """

    def error(output, wanted):
        log_p = jax.nn.log_softmax(output.reshape(*output.shape[:-1], -1, len(codes)).astype(jnp.float32))
        return _mean(-jnp.take_along_axis(log_p, decode(wanted)[..., None], axis=-1)[..., 0])

    return Objective("x0", factorised_softmax(codes), error)


def corrupt(x0: jax.Array, eps: jax.Array, gamma_t: jax.Array) -> jax.Array:
    """x_t = sqrt(gamma) x0 + sqrt(1 - gamma) eps; x0, eps float [B, ...], gamma_t float [B] in [0, 1]."""
    alpha, sigma = _alpha_sigma(gamma_t, x0.ndim)
    return alpha * x0 + sigma * eps


def target(x0: jax.Array, eps: jax.Array, gamma_t: jax.Array, prediction: str) -> jax.Array:
    """What a network of that prediction should output: x0, eps, or v = sqrt(gamma) eps - sqrt(1 - gamma) x0."""
    choose("prediction", prediction, PREDICTIONS)
    if prediction == "v":
        alpha, sigma = _alpha_sigma(gamma_t, x0.ndim)
        return alpha * eps - sigma * x0
    return x0 if prediction == "x0" else eps


def estimate_x0(
    output: jax.Array, x_t: jax.Array, gamma_t: jax.Array, *, prediction: str, clip: float | None
) -> jax.Array:
    """The x0 that a network output stands for, clipped to [-clip, clip] (None: not clipped).

    eps: (x_t - sqrt(1 - gamma) eps) / sqrt(gamma);  v: sqrt(gamma) x_t - sqrt(1 - gamma) v.
    """
    choose("prediction", prediction, PREDICTIONS)
    alpha, sigma = _alpha_sigma(gamma_t, x_t.ndim)
    if prediction == "eps":
        output = (x_t - sigma * output) / alpha
    elif prediction == "v":
        output = alpha * x_t - sigma * output
    return output if clip is None else jnp.clip(output, -clip, clip)


def self_conditioned_rows(batch_size: int, rate: float) -> np.ndarray:
    """Which rows of a device's batch are self-conditioned: a fixed share, evenly spread.

    Evenly spread rows (every second one at rate 0.5) are the same global examples however many
    devices share the batch, as long as batch_size * rate is whole on each.

    Raises:
      UsageError: rate is outside [0, 1], or batch_size * rate is not a whole number.
    """
    if not 0 <= rate <= 1:
        raise UsageError(f"the self-conditioning rate is {rate}; it must be from 0 to 1")
    if abs(batch_size * rate - round(batch_size * rate)) > 1e-6:
        raise UsageError(
            f"a batch of {batch_size} per device cannot be self-conditioned at rate {rate}: "
            f"{batch_size} * {rate} must be a whole number"
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
) -> tuple[jax.Array, jax.Array]:
    """The training loss at a random time per example (Analog Bits, equation 2 and algorithm 1).

    For a fixed share of the examples the network is first asked with a zero estimate, and its x0
    estimate, with no gradient through it, is given to it as x0_prev; the others get zeros. The first
    pass runs on those rows alone and is never differentiated, so at rate 0.5 it costs half a forward.

    Args:
      network: (x_t, x0_prev, gamma_t, condition) -> output, as in `Network`.
      x0: float [B, ...], clean data.
      keys: PRNG keys [B], one per example: an example's draws do not depend on the rest of the batch.
      condition: pytree of arrays [B, ...] handed to the network, or None.
      gamma: the training schedule.
      objective: what the output means and its error.
      self_cond_rate: share of rows, 0 to 1; 0 leaves x0_prev zero everywhere.
      clip: bound on the estimate fed back.
      lag: the greatest lag of a sequence's positions, see `schedules.lagged`; each sequence [L, C] draws its own,
        uniformly from 0 up to it, and gamma_t is then [B, L]. 0 gives all positions the same time.
      weight: gamma_t [B] -> what an example's loss is multiplied by; None for 1.

    Returns:
      (loss float32 [B]; t float32 [B], the time of each example).
    """
    time_keys, eps_keys = jax.vmap(jax.random.split)(keys).T
    t = jax.vmap(jax.random.uniform)(time_keys)
    eps = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:], x0.dtype))(eps_keys)
    gamma_t = gamma(t)
    if lag:
        lags = lag * jax.vmap(lambda key: jax.random.uniform(jax.random.fold_in(key, 0)))(time_keys)
        gamma_t = gamma(jax.vmap(lambda t, lag: lagged(t, x0.shape[1], lag))(t, lags))
    x_t = corrupt(x0, eps, gamma_t)

    x0_prev = jnp.zeros_like(x_t)
    rows = self_conditioned_rows(len(x0), self_cond_rate)
    if len(rows):
        x_rows, gamma_rows, condition_rows = jax.tree.map(lambda a: a[rows], (x_t, gamma_t, condition))
        output = objective.readout(network(x_rows, jnp.zeros_like(x_rows), gamma_rows, condition_rows))
        estimate = estimate_x0(output, x_rows, gamma_rows, prediction=objective.prediction, clip=clip)
        x0_prev = x0_prev.at[rows].set(jax.lax.stop_gradient(estimate).astype(x0.dtype))

    output = network(x_t, x0_prev, gamma_t, condition)
    loss = objective.error(output, target(x0, eps, gamma_t, objective.prediction))
    return loss if weight is None else weight(gamma_t) * loss, t


def _alpha_sigma(gamma_t: jax.Array, ndim: int) -> tuple[jax.Array, jax.Array]:
    gamma_t = jnp.reshape(gamma_t, gamma_t.shape + (1,) * (ndim - gamma_t.ndim))
    return jnp.sqrt(gamma_t), jnp.sqrt(1.0 - gamma_t)


def _mean(x: jax.Array) -> jax.Array:
    return jnp.mean(x, axis=tuple(range(1, x.ndim)))
