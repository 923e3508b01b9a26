"""Objectives: what a network's output means, and the error it is trained to minimize (Analog Bits, section 2)."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from bitdiff.diffusion.corruption import PREDICTIONS
from bitdiff.runtime.errors import choose

LOSSES = ("l2", "logistic", "softmax", "cross_entropy")


class Objective(NamedTuple):
    """The meaning of a network's output, and its training error.

    prediction: 'x0', 'eps' or 'v', what `readout` returns.
    readout: output [B, ...] -> the prediction, with the shape of x0.
    error: (output, target with the shape of x0) -> float32 [B, *grid], the mean over the channels of each position.
    """

    prediction: str
    readout: Callable[[jax.Array], jax.Array]
    error: Callable[[jax.Array, jax.Array], jax.Array]


def l2(prediction: str, readout: Callable[[jax.Array], jax.Array] = lambda output: output) -> Objective:
    """The mean squared error of the readout (section 2); by default the readout is the output itself."""
    choose("prediction", prediction, PREDICTIONS)

    def error(output, target):
        return jnp.mean((readout(output) - target).astype(jnp.float32) ** 2, axis=-1)

    return Objective(prediction, readout, error)


def logistic(scale: float) -> Objective:
    """Sigmoid cross-entropy of every bit: -log sigmoid(x0 f / b); the estimate is (2 sigmoid(f) - 1) b."""

    def error(output, target):
        return jnp.mean(-jax.nn.log_sigmoid((output * target / scale).astype(jnp.float32)), axis=-1)

    return Objective("x0", sigmoid(scale), error)


def sigmoid(scale: float) -> Callable[[jax.Array], jax.Array]:
    """A readout: the mean of bits +-b with the logits f, b (2 / (1 + exp(-f)) - 1)."""
    return lambda output: (2.0 * jax.nn.sigmoid(output) - 1.0) * scale


def softmax(num_classes: int, scale: float) -> Objective:
    """Cross-entropy within one-hot groups of channels; with p the softmax, the estimate is (2 p - 1) b."""

    def grouped(x):
        return x.reshape(*x.shape[:-1], -1, num_classes)

    def readout(output):
        return ((2.0 * jax.nn.softmax(grouped(output)) - 1.0) * scale).reshape(output.shape)

    def error(output, target):
        log_p = jax.nn.log_softmax(grouped(output).astype(jnp.float32))
        return jnp.mean(-jnp.sum(jnp.where(grouped(target) > 0, log_p, 0.0), axis=-1), axis=-1)

    return Objective("x0", readout, error)


def factorised_softmax(codes: jax.Array) -> Callable[[jax.Array], jax.Array]:
    """A readout: logits over K values -> the average of their codes under the softmax (section 3).

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

    def error(output, target):
        log_p = jax.nn.log_softmax(output.reshape(*output.shape[:-1], -1, len(codes)).astype(jnp.float32))
        return jnp.mean(-jnp.take_along_axis(log_p, decode(target)[..., None], axis=-1)[..., 0], axis=-1)

    return Objective("x0", factorised_softmax(codes), error)
