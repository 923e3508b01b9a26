"""Layers that the networks share."""

import zlib
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks import winograd
from bitdiff.networks.attention import attend
from bitdiff.runtime.errors import UsageError

kernel_init = nn.initializers.variance_scaling(1.0, "fan_avg", "uniform")
near_zero_init = nn.initializers.variance_scaling(1e-10, "fan_avg", "uniform")

Dense = partial(nn.Dense, kernel_init=kernel_init)


class Conv(nn.Module):
    """A square convolution with a bias and zero padding that keeps (or halves, with stride 2) the resolution."""

    features: int
    size: int = 3
    stride: int = 1
    near_zero: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x float [B, H, W, any] -> [B, H / stride, W / stride, features]."""
        init = near_zero_init if self.near_zero else kernel_init
        kernel = self.param("kernel", init, (self.size, self.size, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        if self.stride == 1 and winograd.pays(x, kernel):
            return winograd.convolve(x, kernel) + bias
        layout = ("NHWC", "HWIO", "NHWC")
        return jax.lax.conv_general_dilated(x, kernel, (self.stride,) * 2, "SAME", dimension_numbers=layout) + bias


def group_norm(channels: int, *, dtype: jnp.dtype, name: str) -> nn.GroupNorm:
    """GroupNorm with min(channels / 4, 32) groups and epsilon 1e-5."""
    groups = min(channels // 4, 32)
    if groups < 1 or channels % groups:
        raise UsageError(
            f"{channels} channels cannot be normalized in {groups} groups; "
            "use a multiple of 4 up to 128, or a multiple of 32 above"
        )
    return nn.GroupNorm(groups, epsilon=1e-5, dtype=dtype, name=name)


def sinusoid(positions: jax.Array, dim: int, base: float = 1e4) -> jax.Array:
    """Sinusoidal embedding: float [...] -> float32 [..., dim], sines then cosines of x / base^(2 i / dim)."""
    frequencies = base ** (-jnp.arange(dim // 2, dtype=jnp.float32) / (dim // 2))
    angles = positions.astype(jnp.float32)[..., None] * frequencies
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)


class Dropout(nn.Module):
    """Dropout whose mask comes from one key per example, so that it does not depend on the rest of the batch.

    Every instance folds its own path into the keys. Without keys, nothing is dropped.
    """

    rate: float

    def __call__(self, x: jax.Array, keys: jax.Array | None) -> jax.Array:
        if not 0 <= self.rate < 1:
            raise UsageError(f"the dropout rate is {self.rate}; it must be at least 0 and below 1")
        if keys is None or self.rate == 0.0:
            return x
        layer = zlib.crc32("/".join(self.path).encode()) >> 1

        def mask(key):
            return jax.random.bernoulli(jax.random.fold_in(key, layer), 1.0 - self.rate, x.shape[1:])

        return jnp.where(jax.vmap(mask)(keys), x / (1.0 - self.rate), 0.0).astype(x.dtype)


def class_features(label: jax.Array, num_classes: int) -> jax.Array:
    """A label int [B] -> its one-hot vector [B, num_classes], zero for the null label -1; a vector is unchanged."""
    return jax.nn.one_hot(label, num_classes) if jnp.issubdtype(label.dtype, jnp.integer) else label


class TimeEmbedding(nn.Module):
    """An embedding [B, 4 dim] of time, and of the class label if there are classes.

    sinusoid(time, dim) -> Dense -> SiLU -> with the one-hot label -> Dense -> SiLU. The label -1 is
    the null label: its one-hot vector is zero. A label may also be a vector of num_classes weights or features.
    """

    dim: int
    num_classes: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, time: jax.Array, label: jax.Array | None) -> jax.Array:
        h = sinusoid(time, self.dim).astype(self.dtype)
        h = nn.silu(Dense(4 * self.dim, dtype=self.dtype, name="dense_in")(h))
        if self.num_classes:
            if label is None:
                raise UsageError("this network is class-conditional: pass a label per example (-1: the null label)")
            h = jnp.concatenate([h, class_features(label, self.num_classes).astype(h.dtype)], axis=-1)
        return nn.silu(Dense(4 * self.dim, dtype=self.dtype, name="dense_out")(h))


class KeyValue(NamedTuple):
    """The keys and values of attention: float [B, L, heads, head_dim] each."""

    key: jax.Array
    value: jax.Array


class Attention(nn.Module):
    """Multi-head attention of all positions of a sequence to all positions of the same or another sequence."""

    dim: int
    num_heads: int
    dtype: jnp.dtype
    out_init: Callable = kernel_init

    def setup(self) -> None:
        if self.dim % self.num_heads:
            raise UsageError(f"{self.dim} channels cannot be split into {self.num_heads} attention heads")
        self.query, self.key, self.value = (Dense(self.dim, dtype=self.dtype) for _ in range(3))
        self.out = nn.Dense(self.dim, dtype=self.dtype, kernel_init=self.out_init)

    def __call__(self, x: jax.Array, memory: KeyValue | None = None, mask: jax.Array | None = None) -> jax.Array:
        """x float [B, L, dim] -> [B, L, dim]; attends to `memory`, by default x itself, where mask [L, M] allows it."""
        memory = self.remember(x) if memory is None else memory
        mask = None if mask is None else mask[None, None]
        h = attend(self._heads(self.query(x)), *memory, mask=mask)
        return self.out(h.reshape(*x.shape[:-1], self.dim))

    def remember(self, context: jax.Array) -> KeyValue:
        """The keys and values of a sequence: float [B, M, any] -> [B, M, heads, head_dim] each."""
        return KeyValue(self._heads(self.key(context)), self._heads(self.value(context)))

    def _heads(self, x: jax.Array) -> jax.Array:
        return x.reshape(*x.shape[:-1], self.num_heads, self.dim // self.num_heads)
