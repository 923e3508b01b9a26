"""A Transformer over token sequences, with full attention, conditioned on time and a class label."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.layers import Attention, Dense, Dropout, TimeEmbedding, near_zero_init


class Block(nn.Module):
    """Self-attention, then an MLP; each on a LayerNorm scaled and shifted by the embedding."""

    num_heads: int
    mlp_ratio: int
    dropout: float
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: jax.Array, embedding: jax.Array, dropout_keys: jax.Array | None) -> jax.Array:
        dim = x.shape[-1]
        modulation = Dense(4 * dim, dtype=self.dtype, name="scale_shift")(embedding)[:, None, :]
        scale1, shift1, scale2, shift2 = jnp.split(modulation, 4, axis=-1)

        h = nn.LayerNorm(dtype=self.dtype, name="norm_attention")(x) * (1.0 + scale1) + shift1
        h = Attention(self.num_heads, dtype=self.dtype, out_init=near_zero_init, name="attention")(h)
        x = x + Dropout(self.dropout, name="dropout_attention")(h, dropout_keys)

        h = nn.LayerNorm(dtype=self.dtype, name="norm_mlp")(x) * (1.0 + scale2) + shift2
        h = nn.gelu(Dense(self.mlp_ratio * dim, dtype=self.dtype, name="mlp_in")(h))
        h = nn.Dense(dim, dtype=self.dtype, kernel_init=near_zero_init, name="mlp_out")(h)
        return x + Dropout(self.dropout, name="dropout_mlp")(h, dropout_keys)


class Transformer(nn.Module):
    """Encoder-style Transformer with learned positions.

    Attributes:
      out_channels: channels of the output at each position.
      dim: width; dim / head_dim heads.
      layers: number of blocks.
      num_classes: number of classes, 0 for an unconditional network.
      head_dim: channels per attention head.
      mlp_ratio: width of the MLP over dim.
      dropout: rate after attention and MLP, applied where keys are given.
      remat: whether the blocks' inner values are computed anew in the backward pass, to save memory.
      dtype: type of the computation; parameters and output are float32.
    """

    out_channels: int
    dim: int
    layers: int
    num_classes: int = 0
    head_dim: int = 64
    mlp_ratio: int = 4
    dropout: float = 0.0
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        time: jax.Array,
        label: jax.Array | None = None,
        dropout_keys: jax.Array | None = None,
    ) -> jax.Array:
        """Applies the network: x float [B, L, C], time float [B], label int [B] -> float32 [B, L, out_channels].

        `time`, `label` and `dropout_keys` are as in `UNet`.
        """
        embedding = TimeEmbedding(self.dim, self.num_classes, dtype=self.dtype, name="embedding")(time, label)
        positions = self.param("positions", nn.initializers.normal(0.02), (x.shape[1], self.dim))
        h = Dense(self.dim, dtype=self.dtype, name="embed")(x.astype(self.dtype)) + positions.astype(self.dtype)
        heads = max(self.dim // self.head_dim, 1)
        block_kind = nn.remat(Block) if self.remat else Block
        for i in range(self.layers):
            block = block_kind(heads, self.mlp_ratio, self.dropout, self.dtype, name=f"block{i}")
            h = block(h, embedding, dropout_keys)
        h = nn.LayerNorm(dtype=self.dtype, name="norm_out")(h)
        h = nn.Dense(self.out_channels, dtype=self.dtype, kernel_init=near_zero_init, name="out")(h)
        return h.astype(jnp.float32)
