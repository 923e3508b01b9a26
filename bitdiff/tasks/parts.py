"""The codec and the objective that a config describes."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from bitdiff.diffusion import bits, edm, matched_filter, objectives
from bitdiff.runtime.errors import UsageError

HEADS = ("linear", "sigmoid", "factorised_softmax")
_HEADS_OF = {"l2": HEADS, "cross_entropy": ("factorised_softmax",)}  # all other losses take the linear head


def make_codec(config: Any) -> bits.Codec:
    """The codec of a config's vocabulary and encoding; the identity for points, which are real numbers.

    Raises:
      UsageError: the vocabulary is too small.
    """
    if config.task == "points":
        return bits.real_codec()
    if config.data.vocab_size < 2:
        raise UsageError(f"config.data.vocab_size is {config.data.vocab_size}; it must be 2 or more")
    if config.bits.encoding == "continuous":
        return bits.continuous_codec(config.data.vocab_size, config.bits.scale)
    return bits.make_codec(config.bits.encoding, config.data.vocab_size, config.bits.scale)


def make_objective(options: Any, codec: bits.Codec) -> objectives.Objective:
    """The objective of a config's `diffusion` section: its prediction, loss and head.

    Raises:
      UsageError: an unsupported combination.
    """
    _check_objective(options, codec)
    if options.loss == "logistic":
        return objectives.logistic(codec.scale)
    if options.loss == "softmax":
        return objectives.softmax(codec.vocab_size, codec.scale)
    if options.head == "linear":
        return objectives.l2(options.prediction)
    if options.head == "sigmoid":
        return objectives.l2("x0", objectives.sigmoid(codec.scale))
    codes = codec.encode(np.arange(codec.vocab_size)[:, None])
    if options.loss == "cross_entropy":
        return objectives.cross_entropy(codes, codec.decode)
    return objectives.l2("x0", objectives.factorised_softmax(codes))


def make_weight(options: Any, codec: bits.Codec) -> Callable[[jax.Array], jax.Array] | None:
    """The weight of the loss at a noise level: EDM's with sigma_data or with options.weight 'edm', otherwise None.

    Raises:
      UsageError: EDM's weight, which applies to the error of x0, with another prediction.
    """
    if not options.sigma_data and options.weight == "none":
        return None
    if options.prediction != "x0":
        raise UsageError(
            f"config.diffusion.weight is 'edm', which requires the prediction x0, not {options.prediction!r}; with "
            "v, the unweighted loss already equals EDM's for bits of scale 1"
        )
    return partial(edm.loss_weight, sigma_data=options.sigma_data or codec.scale)


def make_residual(options: Any, codec: bits.Codec) -> Callable[[jax.Array, jax.Array], jax.Array] | None:
    """What is added to the logits of a network, see `diffusion.matched_filter`; None without options.matched_filter.

    Raises:
      UsageError: the network's output is not logits, or there are no bits.
    """
    if not options.matched_filter:
        return None
    if codec.encoding in ("continuous", "real") or (options.head == "linear" and options.loss != "logistic"):
        raise UsageError(
            "config.diffusion.matched_filter requires bits, and a network that outputs logits: use the logistic loss, "
            "or the head 'sigmoid' or 'factorised_softmax'"
        )
    codes = codec.encode(np.arange(codec.vocab_size)[:, None])

    def residual(x_t, gamma_t):
        odds = matched_filter.bit_log_odds(x_t, gamma_t, codec.scale)
        return matched_filter.code_logits(odds, codes) if options.head == "factorised_softmax" else odds

    return residual


def _check_objective(options: Any, codec: bits.Codec) -> None:
    if (options.loss != "l2" or options.head != "linear") and options.prediction != "x0":
        raise UsageError(
            f"config.diffusion.prediction is {options.prediction!r}; the {options.loss} loss with the {options.head} "
            "head requires 'x0'"
        )
    heads = _HEADS_OF.get(options.loss, ("linear",))
    if options.head not in heads:
        raise UsageError(
            f"config.diffusion.head is {options.head!r}; the {options.loss} loss requires {' or '.join(heads)}"
        )
    encodings = {"logistic": codec.encoding not in ("continuous", "real"), "softmax": codec.encoding == "one_hot"}
    if not encodings.get(options.loss, True):
        raise UsageError(
            f"config.diffusion.loss is {options.loss!r}, which the encoding {codec.encoding!r} does not support"
        )
