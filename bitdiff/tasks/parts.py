"""The codec and the objective that a config describes."""

from typing import Any

import numpy as np

from bitdiff.diffusion import bits, objectives
from bitdiff.runtime.errors import UsageError

HEADS = ("linear", "factorised_softmax")
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
    codes = codec.encode(np.arange(codec.vocab_size)[:, None])
    if options.loss == "cross_entropy":
        return objectives.cross_entropy(codes, codec.decode)
    return objectives.l2("x0", objectives.factorised_softmax(codes))


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
