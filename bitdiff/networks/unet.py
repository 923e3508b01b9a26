"""The U-Net of Analog Bits (TransUNet in the official code)."""

import math
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.layers import Attention, Conv, Dense, Dropout, TimeEmbedding, group_norm, near_zero_init
from bitdiff.runtime.errors import UsageError


class ResBlock(nn.Module):
    """GN, SiLU, conv, GN scaled and shifted by the embedding, SiLU, dropout, conv; (sum with x) / sqrt 2."""

    channels: int
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, dropout_keys: jax.Array | None) -> jax.Array:
        h = nn.silu(group_norm(x.shape[-1], dtype=self.dtype, name="norm_in")(x))
        h = Conv(self.channels, dtype=self.dtype, name="conv_in")(h)
        scale_shift = Dense(2 * self.channels, dtype=self.dtype, name="scale_shift")(embedding)
        scale, shift = jnp.split(scale_shift[:, None, None, :], 2, axis=-1)
        h = group_norm(self.channels, dtype=self.dtype, name="norm_out")(h) * (1.0 + scale) + shift
        h = Dropout(self.dropout, name="dropout")(nn.silu(h), dropout_keys)
        h = Conv(self.channels, near_zero=True, dtype=self.dtype, name="conv_out")(h)
        if x.shape[-1] != self.channels:
            x = Conv(self.channels, size=1, dtype=self.dtype, name="shortcut")(x)
        return (x + h) / math.sqrt(2.0)


class AttentionBlock(nn.Module):
    """GN, self-attention over all pixels with heads of `head_dim`; (sum with x) / sqrt 2."""

    head_dim: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        h = group_norm(channels, dtype=self.dtype, name="norm")(x).reshape(batch, height * width, channels)
        h = Attention(channels, max(channels // self.head_dim, 1), dtype=self.dtype, name="attention")(h)
        return (x + h.reshape(x.shape)) / math.sqrt(2.0)


class CrossBlock(nn.Module):
    """GN, cross-attention of all pixels to a context, initially near zero; (sum with x) / sqrt 2."""

    head_dim: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, context: jax.Array) -> jax.Array:
        batch, height, width, channels = x.shape
        h = group_norm(channels, dtype=self.dtype, name="norm")(x).reshape(batch, height * width, channels)
        # Latents carry no information until their encoder is trained. If they entered at full strength from the start,
        # the network would learn to ignore them for good.
        heads = max(channels // self.head_dim, 1)
        attention = Attention(channels, heads, dtype=self.dtype, out_init=near_zero_init, name="attention")
        h = attention(h, attention.remember(context.astype(self.dtype)))
        return (x + h.reshape(x.shape)) / math.sqrt(2.0)


class UNet(nn.Module):
    """Convolutional U-Net with self-attention at some resolutions, and optional cross-attention to a context.

    With one group, cross-attention follows every self-attention. With several, the upsampling half attends to each
    group at one resolution, to the first group at the lowest (DisCo-Diff's group hierarchy).

    Attributes:
      out_channels: channels of the output.
      dim: width; stage i has dim * multipliers[i] channels.
      multipliers: one entry per resolution; between stages the resolution halves.
      blocks: ResBlocks per downsampling stage; upsampling stages have one more.
      attention_resolutions: image heights at which attention follows every ResBlock.
      num_classes: number of classes, 0 for an unconditional network.
      dropout: rate within ResBlocks, applied if keys are given.
      head_dim: channels per attention head.
      context_groups: number of equal groups a context is divided into; at most one per stage.
      out_size: width of the last convolution's kernel; the paper's softmax head is a 1 x 1 convolution.
      remat: whether activations are recomputed in the backward pass, to save memory.
      dtype: dtype of the computation; parameters and output are float32.
    """

    out_channels: int
    dim: int
    multipliers: Sequence[int]
    blocks: int
    attention_resolutions: Sequence[int]
    num_classes: int = 0
    dropout: float = 0.0
    head_dim: int = 64
    context_groups: int = 1
    out_size: int = 3
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        time: jax.Array,
        label: jax.Array | None = None,
        dropout_keys: jax.Array | None = None,
        context: jax.Array | None = None,
    ) -> jax.Array:
        """Applies the network.

        Args:
          x: float [B, H, W, C]; H and W divisible by 2^(stages - 1).
          time: float [B], embedded by sinusoids; values up to O(1000).
          label: int [B] in [-1, num_classes), -1 for the null label; required if num_classes > 0.
          dropout_keys: PRNG keys [B], or None for no dropout.
          context: float [B, M, any], or None.

        Returns:
          float32 [B, H, W, out_channels].

        Raises:
          UsageError: the image cannot be halved often enough, channels cannot be divided into groups, or the context
            has groups that do not fit or no resolution at which the network attends to it.
        """
        halvings = len(self.multipliers) - 1
        groups = self._groups(context, [x.shape[1] // 2**i for i in range(halvings + 1)])
        if any(size % 2**halvings for size in x.shape[1:3]):
            raise UsageError(
                f"images of {x.shape[1]} x {x.shape[2]} cannot be halved {halvings} times; "
                f"use sizes divisible by {2**halvings}, or fewer multipliers"
            )
        embedding = TimeEmbedding(self.dim, self.num_classes, dtype=self.dtype, name="embedding")(time, label)

        kinds: Any = (ResBlock, AttentionBlock, CrossBlock)
        res_block, attention_block, cross_block = (nn.remat(kind) if self.remat else kind for kind in kinds)

        def block(h, stage, name):
            h = res_block(self.dim * self.multipliers[stage], self.dropout, self.dtype, name=name)(
                h, embedding, dropout_keys
            )
            before_attention = h
            if h.shape[1] in self.attention_resolutions:
                h = attention_block(self.head_dim, self.dtype, name=f"{name}_attention")(h)
                if len(groups) == 1:
                    h = cross_block(self.head_dim, self.dtype, name=f"{name}_cross")(h, groups[0])
            if len(groups) > 1 and name.startswith("up") and halvings - stage < len(groups):
                h = cross_block(self.head_dim, self.dtype, name=f"{name}_cross")(h, groups[halvings - stage])
            return h, before_attention

        h = Conv(self.dim * self.multipliers[0], dtype=self.dtype, name="conv_in")(x.astype(self.dtype))
        skips = [h]
        h = group_norm(h.shape[-1], dtype=self.dtype, name="norm_in")(h)
        stages = range(len(self.multipliers))
        for stage in stages:
            for i in range(self.blocks):
                h, skip = block(h, stage, f"down{stage}_block{i}")
                skips.append(skip)
            if stage < halvings:
                h = Conv(self.dim * self.multipliers[stage], stride=2, dtype=self.dtype, name=f"down{stage}")(h)
                skips.append(h)
        for stage in reversed(stages):
            for i in range(self.blocks + 1):
                h, _ = block(jnp.concatenate([h, skips.pop()], axis=-1), stage, f"up{stage}_block{i}")
            if stage:
                h = h.repeat(2, axis=1).repeat(2, axis=2)
                h = Conv(self.dim * self.multipliers[stage], dtype=self.dtype, name=f"up{stage}")(h)
        h = nn.silu(group_norm(h.shape[-1], dtype=self.dtype, name="norm_out")(h))
        h = Conv(self.out_channels, size=self.out_size, near_zero=True, dtype=self.dtype, name="conv_out")(h)
        return h.astype(jnp.float32)

    def _groups(self, context: jax.Array | None, sizes: Sequence[int]) -> list[jax.Array]:
        if context is None:
            return []
        if not 1 <= self.context_groups <= len(sizes) or context.shape[1] % self.context_groups:
            raise UsageError(
                f"{context.shape[1]} latents in {self.context_groups} groups; groups must be of equal size, with at "
                f"most one for each of the {len(sizes)} resolutions"
            )
        if self.context_groups == 1 and not set(sizes) & set(self.attention_resolutions):
            raise UsageError(
                f"cross-attention to latents follows self-attention, but config.network.attention_resolutions = "
                f"{tuple(self.attention_resolutions)} names none of the resolutions {', '.join(map(str, sizes))}"
            )
        return jnp.split(context, self.context_groups, axis=1)
