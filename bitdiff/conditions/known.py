"""Known values: entries of a sample that are held fixed while the others are sampled conditioned on them."""

import jax.numpy as jnp
import numpy as np

from bitdiff.conditions.condition import Condition, Request
from bitdiff.diffusion.bits import Codec
from bitdiff.diffusion.guidance import hold_known, hold_known_positions
from bitdiff.runtime.errors import UsageError


def make_known(
    codec: Codec, shape: tuple[int, ...], *, has_channels: bool, prediction: str, per_position: bool
) -> Condition:
    """Known values of integer samples; training does not use them.

    Args:
      codec: how values become bits.
      shape: shape of one sample's values.
      has_channels: whether the last axis of `shape` holds channels; otherwise a position has one value.
      prediction: what the network outputs; only 'x0' supports known values.
      per_position: whether the network takes a noise level per position of a sequence.
    """

    def constrain(denoise, arrays, keys):
        if "known" not in arrays:
            return denoise
        if prediction != "x0":
            raise UsageError(f"known values require a model with prediction 'x0', not {prediction!r}")
        values = arrays["known"] if has_channels else arrays["known"][..., None]
        if per_position:
            return hold_known_positions(denoise, codec.encode(jnp.maximum(values, 0)), arrays["known"] >= 0)
        mask = jnp.repeat(values >= 0, codec.num_bits, axis=-1)
        return hold_known(denoise, codec.encode(jnp.maximum(values, 0)), mask, keys.known)

    return Condition(
        name="known values",
        takes=("known",),
        select=lambda request: _select(request, shape, codec.vocab_size),
        constrain=constrain,
    )


def _select(request: Request, shape: tuple[int, ...], vocab_size: int) -> dict[str, np.ndarray]:
    """'known' int32 [B, ...], -1 where a value is open; {} if the examples hold no known values."""
    if not request.offers("known"):
        return {}
    known = np.stack([row["known"] for row in request.rows])
    if not np.issubdtype(known.dtype, np.integer):
        raise UsageError(f"known values have dtype {known.dtype}; they must be integers, with -1 where they are open")
    if known.shape[1:] != shape or known.min() < -1 or known.max() >= vocab_size:
        raise UsageError(
            f"known values have shape {list(known.shape[1:])} and range from {known.min()} to {known.max()}; they must "
            f"have shape {list(shape)} and range from 0 to {vocab_size - 1}, with -1 where they are open"
        )
    return {"known": known.astype(np.int32)}
