"""Integers <-> analog bits (Analog Bits, section 2).

An integer below a vocabulary size K becomes n = ceil(log2 K) bits, least significant first, and the
bits become real numbers: 0 -> -scale, 1 -> +scale. Thresholding at 0 inverts this.

Invalid codes. When K is not a power of two, some of the 2^n codes represent no value. `decode` then returns
the value whose code is nearest to the analog bits (the maximum-likelihood choice under isotropic Gaussian
noise), which is plain thresholding wherever the thresholded code is valid; `invalid` marks where it was
not, so that the fraction of invalid codes can be reported.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.runtime.errors import UsageError, choose

ENCODINGS = ("uint", "gray", "uint_rand", "one_hot")
_PERMUTATION_SEED = 42  # the paper's fixed permutation: RandomState(42).shuffle(arange(256))


class Codec(NamedTuple):
    """One encoding of a vocabulary as analog bits.

    encode: int [..., C] in [0, vocab_size) -> float32 [..., C * num_bits] in {-scale, +scale}.
    decode: float [..., C * num_bits] -> int32 [..., C], the nearest valid code.
    invalid: float [..., C * num_bits] -> bool [..., C], where thresholding gives no valid code.
    """

    encoding: str
    vocab_size: int
    num_bits: int
    scale: float
    encode: Callable[[jax.typing.ArrayLike], jax.Array]
    decode: Callable[[jax.typing.ArrayLike], jax.Array]
    invalid: Callable[[jax.typing.ArrayLike], jax.Array]


def int_to_bits(x: jax.typing.ArrayLike, num_bits: int) -> jax.Array:
    """Binary digits of non-negative integers, least significant first.

    Args:
      x: int [...] in [0, 2^num_bits).
      num_bits: 1 to 31.

    Returns:
      int32 [..., num_bits] in {0, 1}: `(x >> i) & 1`.

    Raises:
      UsageError: num_bits is out of range, x is not integer, or (outside of jit) a value needs more bits.
    """
    if not 1 <= num_bits <= 31:
        raise UsageError(f"num_bits is {num_bits}; it must be from 1 to 31")
    _check_integers(x, 2**num_bits, f"{num_bits} bits")
    x = jnp.asarray(x).astype(jnp.int32)
    return (x[..., None] >> jnp.arange(num_bits, dtype=jnp.int32)) & 1


def bits_to_int(bits: jax.typing.ArrayLike) -> jax.Array:
    """The inverse of `int_to_bits`: [..., n] in {0, 1} (or bool) -> int32 [...], sum of bit_i 2^i."""
    bits = jnp.asarray(bits)
    if not 1 <= bits.shape[-1] <= 31:
        raise UsageError(f"the last axis holds {bits.shape[-1]} bits; it must hold from 1 to 31")
    weights = 1 << jnp.arange(bits.shape[-1], dtype=jnp.int32)
    return jnp.sum(bits.astype(jnp.int32) * weights, axis=-1, dtype=jnp.int32)


def gray_code(x: Any) -> Any:
    """The reflected binary code x ^ (x >> 1): neighboring integers differ in one bit.

    x is an integer, or an integer array of NumPy or jax, and so is the result.
    """
    return x ^ (x >> 1)


def make_codec(encoding: str, vocab_size: int = 256, scale: float = 1.0) -> Codec:
    """Builds the codec of one encoding (Analog Bits, sections 2 and 4.1).

    Args:
      encoding: 'uint' (plain binary), 'gray' (reflected code), 'uint_rand' (plain binary of a fixed
        random permutation, the paper's UINT8 (RAND)), or 'one_hot' (vocab_size channels).
      vocab_size: number K of values, 2 to 2^30; n = ceil(log2 K) bits, or K for 'one_hot'.
      scale: b > 0; a bit is -b or +b. The paper uses 1.

    Raises:
      UsageError: an unknown encoding, or a vocabulary or scale out of range.
    """
    choose("encoding", encoding, ENCODINGS)
    if not 2 <= vocab_size <= 2**30:
        raise UsageError(f"vocab_size is {vocab_size}; it must be from 2 to 2^30")
    if not (scale > 0 and math.isfinite(scale)):
        raise UsageError(f"scale is {scale}; it must be positive and finite")
    make = _one_hot_codec if encoding == "one_hot" else _binary_codec
    return make(encoding, int(vocab_size), float(scale))


def continuous_codec(vocab_size: int = 256, scale: float = 1.0) -> Codec:
    """The paper's continuous baseline, without bits: one real number in [-scale, scale] per integer.

    encode: (2 x / (vocab_size - 1) - 1) scale; decode: the nearest integer in [0, vocab_size).
    """
    step = 2.0 * scale / (vocab_size - 1)

    def encode(x):
        _check_integers(x, vocab_size, f"a vocabulary of {vocab_size}")
        return jnp.asarray(x).astype(jnp.float32) * step - scale

    def decode(analog):
        return jnp.clip(jnp.round((jnp.asarray(analog) + scale) / step), 0, vocab_size - 1).astype(jnp.int32)

    def invalid(analog):
        return jnp.zeros(jnp.shape(analog), bool)

    return Codec("continuous", vocab_size, 1, scale, encode, decode, invalid)


def real_codec() -> Codec:
    """The identity, for data that are real numbers: `encode` and `decode` return their argument."""

    def same(x):
        return jnp.asarray(x, jnp.float32)

    return Codec("real", 0, 1, 1.0, same, same, lambda x: jnp.zeros(jnp.shape(x), bool))


def _binary_codec(encoding: str, vocab_size: int, scale: float) -> Codec:
    num_bits = (vocab_size - 1).bit_length()
    permutation = None
    if encoding == "uint_rand":
        permutation = np.arange(vocab_size, dtype=np.int32)
        np.random.RandomState(_PERMUTATION_SEED).shuffle(permutation)
        inverse = np.argsort(permutation).astype(np.int32)
    patterns = _valid_patterns(vocab_size, num_bits, gray=encoding == "gray")

    def encode(x):
        _check_integers(x, vocab_size, f"a vocabulary of {vocab_size}")
        x = jnp.asarray(x).astype(jnp.int32)
        if encoding == "gray":
            x = gray_code(x)
        elif permutation is not None:
            x = jnp.asarray(permutation)[x]
        analog = (2.0 * int_to_bits(x, num_bits) - 1.0) * scale
        return analog.reshape(*x.shape[:-1], -1).astype(jnp.float32)

    def decode(analog):
        analog = _split(analog, num_bits)
        bits = analog > 0
        if len(patterns) > 1:
            # The nearest code within each block keeps the fixed bits and thresholds the free ones.
            fixed = jnp.asarray(patterns)
            match = jnp.where(fixed == 0, jnp.abs(analog)[..., None, :], fixed * analog[..., None, :])
            best = fixed[jnp.argmax(match.sum(-1), axis=-1)]
            bits = jnp.where(best == 0, bits, best > 0)
        code = bits_to_int(bits)
        if encoding == "gray":
            code = _gray_decode(code)
        elif permutation is not None:
            code = jnp.asarray(inverse)[code]
        return code

    def invalid(analog):
        code = bits_to_int(_split(analog, num_bits) > 0)
        return (_gray_decode(code) if encoding == "gray" else code) >= vocab_size

    return Codec(encoding, vocab_size, num_bits, scale, encode, decode, invalid)


def _one_hot_codec(encoding: str, vocab_size: int, scale: float) -> Codec:
    def encode(x):
        _check_integers(x, vocab_size, f"a vocabulary of {vocab_size}")
        x = jnp.asarray(x).astype(jnp.int32)
        analog = (2.0 * jax.nn.one_hot(x, vocab_size) - 1.0) * scale
        return analog.reshape(*x.shape[:-1], -1).astype(jnp.float32)

    def decode(analog):
        return jnp.argmax(_split(analog, vocab_size), axis=-1).astype(jnp.int32)

    def invalid(analog):
        return jnp.sum(_split(analog, vocab_size) > 0, axis=-1) != 1

    return Codec(encoding, vocab_size, vocab_size, scale, encode, decode, invalid)


def _split(analog: jax.typing.ArrayLike, num_bits: int) -> jax.Array:
    """float [..., C * num_bits] -> [..., C, num_bits]."""
    analog = jnp.asarray(analog)
    if analog.ndim == 0 or analog.shape[-1] % num_bits:
        raise UsageError(f"analog bits of shape {analog.shape}: the last axis must be a multiple of {num_bits}")
    return analog.reshape(*analog.shape[:-1], -1, num_bits)


def _gray_decode(code: jax.Array) -> jax.Array:
    for shift in (1, 2, 4, 8, 16):
        code = code ^ (code >> shift)
    return code


def _valid_patterns(vocab_size: int, num_bits: int, *, gray: bool) -> np.ndarray:
    """The codes of [0, vocab_size) as aligned blocks: float32 [blocks, num_bits] in {-1, 0, +1}, 0 = free.

    Every set bit j of vocab_size gives a block of 2^j values that share their digits from j upward; the
    Gray codes of a block also take every pattern below j.
    """
    patterns = []
    for j in range(num_bits, -1, -1):
        if vocab_size >> j & 1:
            base = vocab_size >> (j + 1) << (j + 1)
            code = gray_code(base) if gray else base
            patterns.append([0 if i < j else 2 * (code >> i & 1) - 1 for i in range(num_bits)])
    return np.asarray(patterns, np.float32)


def _check_integers(x: jax.typing.ArrayLike, limit: int, what: str) -> None:
    x = x if isinstance(x, jax.Array) else np.asarray(x)
    if isinstance(x, np.ndarray) and x.dtype.kind not in "biufc":
        raise UsageError(f"expected integers, got an array of {x.dtype}")
    if not jnp.issubdtype(jnp.result_type(x), jnp.integer):
        raise UsageError(f"expected integers, got {jnp.result_type(x)}")
    if isinstance(x, jax.core.Tracer) or np.size(x) == 0:
        return  # inside jit the values are unknown
    x = np.asarray(x)  # a constant inside jit is known, but jax would trace its minimum
    low, high = int(x.min()), int(x.max())
    if low < 0 or high >= limit:
        raise UsageError(f"values range from {low} to {high}; {what} can represent 0 to {limit - 1}")
