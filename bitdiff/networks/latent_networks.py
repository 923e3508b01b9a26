"""The networks of discrete latents (Xu et al. 2024, DisCo-Diff): one infers them from data, one embeds them."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.layers import Dense
from bitdiff.networks.transformer import Block
from bitdiff.networks.vit import ViT

LATENT_ENCODERS = ("mlp", "vit", "bag")


class LatentEncoder(nn.Module):
    """Data -> logits of `count` latents of `codes` values.

    'mlp' is an MLP on flattened data. 'vit' is for images, with a class token per latent. 'bag' is for tokens y_i:
    MLP(sum_i E[y_i]), with learned embeddings E, so that it sees which tokens a sequence contains, but not their order.

    Attributes:
      count: latents per example.
      codes: values a latent can take.
      kind: one of LATENT_ENCODERS.
      dim: width.
      layers: Dense layers of the MLP, including the last; blocks of the ViT.
      patch: width of the ViT's patches in pixels.
      head_dim: channels per attention head of the ViT.
      dtype: dtype of the computation; parameters and output are float32.
    """

    count: int
    codes: int
    kind: str
    dim: int
    layers: int
    patch: int = 8
    head_dim: int = 64
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """x float [B, ...] in about [-1, 1] -> float32 [B, count, codes].

        For a ViT, x is [B, S, S, C]; for a bag, it is one-hot [B, L, vocabulary].
        """
        if self.kind == "vit":
            vit = ViT(self.patch, self.dim, self.layers, head_dim=self.head_dim, tokens=self.count, dtype=self.dtype)
            h = vit((x + 1.0) * 127.5)[:, : self.count]
            return Dense(self.codes, dtype=self.dtype, name="logits")(h.astype(self.dtype)).astype(jnp.float32)
        if self.kind == "bag":
            h = jnp.sum(Dense(self.dim, use_bias=False, dtype=self.dtype, name="embed")(x.astype(self.dtype)), axis=1)
            h = nn.silu(nn.LayerNorm(dtype=self.dtype, name="norm")(h))
        else:
            h = x.reshape(len(x), -1).astype(self.dtype)
        for i in range(self.layers - 1):
            h = nn.silu(Dense(self.dim, dtype=self.dtype, name=f"hidden{i}")(h))
        h = Dense(self.count * self.codes, dtype=self.dtype, name="logits")(h)
        return h.reshape(-1, self.count, self.codes).astype(jnp.float32)


class LatentTransformer(nn.Module):
    """Latents -> the context that a network attends to: embeddings, then Transformer blocks over them.

    Attributes:
      count: latents per example.
      codes: values a latent can take.
      dim: width of the context.
      layers: number of blocks; with 0, the context is the embeddings.
      head_dim: channels per attention head.
      dtype: dtype of the computation; parameters and output are float32.
    """

    count: int
    codes: int
    dim: int
    layers: int
    head_dim: int = 64
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, z: jax.Array, dropped: jax.Array) -> jax.Array:
        """Embeds the latents.

        Args:
          z: float [B, count, codes], one-hot or relaxed.
          dropped: bool [B], the examples whose latents are all replaced by the null embedding.

        Returns:
          float32 [B, count, dim].
        """
        h = Dense(self.dim, use_bias=False, dtype=self.dtype, name="embed")(z.astype(self.dtype))
        null = self.param("null", nn.initializers.normal(1.0), (self.count, self.dim)).astype(self.dtype)
        h = jnp.where(dropped[:, None, None], null, h)
        if self.layers:
            h = h + self.param("positions", nn.initializers.normal(0.1), (self.count, self.dim)).astype(self.dtype)
            for i in range(self.layers):
                heads = max(self.dim // self.head_dim, 1)
                block = Block(self.dim, heads, 4, 0.0, crosses=False, timed=False, dtype=self.dtype, name=f"block{i}")
                h, _ = block(h, None, None, None, None, None)
            h = nn.LayerNorm(dtype=self.dtype, name="norm_out")(h)
        return h.astype(jnp.float32)
