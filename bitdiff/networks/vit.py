"""The Vision Transformer (Dosovitskiy et al. 2021) as an image encoder."""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.layers import Attention, Conv, Dense
from bitdiff.runtime.errors import UsageError


class ViT(nn.Module):
    """Images [B, S, S, C] in [0, 255] -> float32 [B, tokens + (S / patch)^2, dim]: class tokens, then patches.

    Attributes:
      patch: width of a patch in pixels.
      stem: channels of 3 x 3 convolutions with stride 2, each followed by a LayerNorm, in place of one linear layer per
        patch (Xiao et al. 2021); log2(patch) of them. () is the published ViT.
      dim: width; dim / head_dim heads.
      layers: number of blocks.
      head_dim: channels per attention head.
      mlp_ratio: width of the MLP over dim.
      tokens: number of class tokens; the published ViT has one.
      remat: whether attention is recomputed in the backward pass, to save memory.
      dtype: dtype of the computation; parameters and output are float32.
    """

    patch: int
    dim: int
    layers: int
    stem: Sequence[int] = ()
    head_dim: int = 64
    mlp_ratio: int = 4
    tokens: int = 1
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, image: jax.Array) -> jax.Array:
        batch, height, width, _ = image.shape
        if height != width or height % self.patch:
            raise UsageError(f"images of {height} x {width} pixels cannot be cut into patches of {self.patch}")
        if self.stem and 2 ** len(self.stem) != self.patch:
            raise UsageError(
                f"config.encoder.stem has {len(self.stem)} convolutions, which make patches of {2 ** len(self.stem)} "
                f"pixels; config.encoder.patch is {self.patch}"
            )
        x = (image.astype(jnp.float32) / 127.5 - 1.0).astype(self.dtype)
        for i, width in enumerate(self.stem):
            x = Conv(width, stride=2, dtype=self.dtype, name=f"stem{i}")(x)
            x = nn.gelu(nn.LayerNorm(dtype=self.dtype, name=f"norm_stem{i}")(x))
        window = (1, 1) if self.stem else (self.patch, self.patch)
        h = nn.Conv(self.dim, window, window, padding="VALID", dtype=self.dtype, name="embed")(x)
        h = h.reshape(batch, -1, self.dim)
        first = self.param("class_token", nn.initializers.zeros, (1, self.tokens, self.dim)).astype(self.dtype)
        h = jnp.concatenate([jnp.broadcast_to(first, (batch, self.tokens, self.dim)), h], axis=1)
        h = h + self.param("positions", nn.initializers.normal(0.02), (1, *h.shape[1:])).astype(self.dtype)
        norm = {"epsilon": 1e-6, "dtype": self.dtype}
        attention = nn.remat(Attention) if self.remat else Attention
        for i in range(self.layers):
            heads = max(self.dim // self.head_dim, 1)
            g = nn.LayerNorm(**norm, name=f"norm_attention{i}")(h)
            h = h + attention(self.dim, heads, self.dtype, name=f"attention{i}")(g)
            g = nn.LayerNorm(**norm, name=f"norm_mlp{i}")(h)
            g = nn.gelu(Dense(self.mlp_ratio * self.dim, dtype=self.dtype, name=f"mlp_in{i}")(g), approximate=False)
            h = h + Dense(self.dim, dtype=self.dtype, name=f"mlp_out{i}")(g)
        return nn.LayerNorm(**norm, name="norm_out")(h).astype(jnp.float32)
