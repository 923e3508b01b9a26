"""A Transformer over sequences: of real values at a time, or of tokens from left to right; it may look at a picture.

The two ways of use differ in three things alone: what is embedded, whether time modulates the layers, and
whether a position sees those behind it.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.errors import UsageError
from bitdiff.networks.layers import Attention, Dense, Dropout, KeyValue, TimeEmbedding, near_zero_init, sinusoid


class Block(nn.Module):
    """Self-attention, attention to a context where there is one, and an MLP; each on a LayerNorm.

    Where there is an embedding of time, it scales and shifts what the norms give.
    """

    dim: int
    num_heads: int
    mlp_ratio: int
    dropout: float
    crosses: bool
    timed: bool
    dtype: jnp.dtype

    def setup(self) -> None:
        self.attention = Attention(self.dim, self.num_heads, self.dtype, out_init=near_zero_init)
        if self.crosses:
            self.cross = Attention(self.dim, self.num_heads, self.dtype, out_init=near_zero_init)
        self.mlp_in = Dense(self.mlp_ratio * self.dim, dtype=self.dtype)
        self.mlp_out = nn.Dense(self.dim, dtype=self.dtype, kernel_init=near_zero_init)
        count = 3 if self.crosses else 2
        self.norms = [nn.LayerNorm(dtype=self.dtype) for _ in range(count)]
        self.drops = [Dropout(self.dropout) for _ in range(count)]
        if self.timed:
            self.scale_shift = Dense(2 * count * self.dim, dtype=self.dtype)

    def __call__(
        self,
        x: jax.Array,
        embedding: jax.Array | None,
        dropout_keys: jax.Array | None,
        memory: KeyValue | None,
        mask: jax.Array | None,
        cache: tuple[KeyValue, jax.Array] | None,
    ) -> tuple[jax.Array, KeyValue | None]:
        """Returns what the block makes of x float [B, L, dim], and the cache with x in it, if one was given."""
        parts = [(self._looks_back, mask, cache), *([(self._looks_at, memory)] if self.crosses else []), (self._mlp,)]
        modulation = jnp.split(self.scale_shift(embedding)[:, None], 2 * len(parts), axis=-1) if self.timed else None
        kept = None
        for i, (part, *rest) in enumerate(parts):
            h = self.norms[i](x)
            if modulation is not None:
                h = h * (1.0 + modulation[2 * i]) + modulation[2 * i + 1]
            h, kept = part(h, *rest) if i == 0 else (part(h, *rest), kept)
            x = x + self.drops[i](h, dropout_keys)
        return x, kept

    def remember(self, context: jax.Array) -> KeyValue:
        """What the block looks at in a context float [B, M, any]."""
        return self.cross.remember(context)

    def _looks_back(self, h, mask, cache):
        own = self.attention.remember(h)
        if cache is None:
            return self.attention(h, own, mask), None
        kept, index = cache
        own = jax.tree.map(lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, index, axis=1), kept, own)
        return self.attention(h, own, mask), own

    def _looks_at(self, h, memory):
        return self.cross(h, memory)

    def _mlp(self, h):
        return self.mlp_out(nn.gelu(self.mlp_in(h)))


class Transformer(nn.Module):
    """A pre-norm Transformer with learned positions.

    Attributes:
      out_channels: channels of the output at each position.
      length: positions in a sequence.
      dim: width; dim / head_dim heads.
      layers: number of blocks.
      num_classes: number of classes, 0 for an unconditional network.
      vocab_size: 0 for real-valued input at a time, with full attention; else the input is tokens below it,
        there is no time, and a position sees itself and those before it.
      crosses: whether it looks at a context.
      lagged: whether positions have times of their own; each is told its own, and the blocks are told the mean.
      head_dim: channels per attention head.
      mlp_ratio: width of the MLP over dim.
      embed_layers: 1 embeds a position's values linearly, 2 by an MLP of the width of the others.
      dropout: rate after attention and MLP, applied where keys are given.
      remat: whether the blocks' inner values are computed anew in the backward pass, to save memory.
      dtype: type of the computation; parameters and output are float32.
    """

    out_channels: int
    length: int
    dim: int
    layers: int
    num_classes: int = 0
    vocab_size: int = 0
    crosses: bool = False
    lagged: bool = False
    head_dim: int = 64
    mlp_ratio: int = 4
    embed_layers: int = 1
    dropout: float = 0.0
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    def setup(self) -> None:
        timed = not self.vocab_size
        if timed:
            self.embedding = TimeEmbedding(self.dim, self.num_classes, dtype=self.dtype)
            widths = (self.mlp_ratio * self.dim,) * (self.embed_layers - 1) + (self.dim,)
            self.embed = [Dense(width, dtype=self.dtype) for width in widths]
            if self.lagged:
                self.own_time = [Dense(self.dim, dtype=self.dtype) for _ in range(2)]
        else:
            self.token = nn.Embed(self.vocab_size, self.dim, dtype=self.dtype)
        # Not 0.02, as is usual: who comes first in a caption was then not learned (24 % of captions true, not 99 %).
        self.positions = self.param("positions", nn.initializers.normal(0.1), (self.length, self.dim))
        kind = nn.remat(Block) if self.remat else Block
        self.blocks = [
            kind(self.dim, self._heads, self.mlp_ratio, self.dropout, self.crosses, timed, self.dtype)
            for _ in range(self.layers)
        ]
        self.norm_out = nn.LayerNorm(dtype=self.dtype)
        self.out = nn.Dense(self.out_channels, dtype=self.dtype, kernel_init=near_zero_init)

    @property
    def _heads(self) -> int:
        return max(self.dim // self.head_dim, 1)

    def __call__(
        self,
        x: jax.Array,
        time: jax.Array | None = None,
        label: jax.Array | None = None,
        dropout_keys: jax.Array | None = None,
        memory: Sequence[KeyValue] | None = None,
    ) -> jax.Array:
        """Applies the network to whole sequences.

        Args:
          x: float [B, length, C], or tokens int [B, length].
          time: float [B], as in `UNet`, or [B, length] if positions lag; None for tokens.
          label: int [B], as in `UNet`.
          dropout_keys: keys [B], as in `UNet`.
          memory: of the context, by `remember`.

        Returns:
          float32 [B, length, out_channels].
        """
        if x.shape[1] != self.length:
            raise UsageError(f"sequences of {x.shape[1]} positions; this network was made for {self.length}")
        own_time = jnp.zeros((), self.dtype)
        if self.lagged:
            time = jnp.broadcast_to(time.reshape(len(x), -1), x.shape[:2])
            own_time = self.own_time[1](nn.silu(self.own_time[0](sinusoid(time, self.dim).astype(self.dtype))))
            time = jnp.mean(time, axis=1)
        embedding = None if self.vocab_size else self.embedding(time, label)
        mask = jnp.tril(jnp.ones((self.length, self.length), bool)) if self.vocab_size else None
        h = self._embed(x) + own_time + self.positions.astype(self.dtype)
        for i, block in enumerate(self.blocks):
            h, _ = block(h, embedding, dropout_keys, memory[i] if memory else None, mask, None)
        return self._readout(h)

    def remember(self, context: jax.Array) -> list[KeyValue]:
        """What the blocks look at in a context float [B, M, any], to be computed once for many calls."""
        return [block.remember(context.astype(self.dtype)) for block in self.blocks]

    def empty_cache(self, batch_size: int) -> list[KeyValue]:
        """Room for the keys and values of all positions; for `advance`."""
        zeros = jnp.zeros((batch_size, self.length, self._heads, self.dim // self._heads), self.dtype)
        return [KeyValue(zeros, zeros)] * self.layers

    def advance(
        self, token: jax.Array, index: jax.Array, cache: Sequence[KeyValue], memory: Sequence[KeyValue] | None = None
    ) -> tuple[jax.Array, list[KeyValue]]:
        """One position of a network over tokens, given those before it.

        Args:
          token: int [B], the token at the position.
          index: int [], the position.
          cache: of the positions before it.
          memory: of the context.

        Returns:
          (float32 [B, out_channels], equal to `__call__` at that position; the cache with this position in it).
        """
        h = self._embed(token[:, None]) + self.positions[index].astype(self.dtype)
        mask = jnp.arange(self.length)[None, :] <= index
        kept = []
        for i, block in enumerate(self.blocks):
            h, own = block(h, None, None, memory[i] if memory else None, mask, (cache[i], index))
            kept.append(own)
        return self._readout(h)[:, 0], kept

    def _embed(self, x: jax.Array) -> jax.Array:
        if self.vocab_size:
            return self.token(x)
        h = x.astype(self.dtype)
        for i, layer in enumerate(self.embed):
            h = layer(nn.gelu(h) if i else h)
        return h

    def _readout(self, h: jax.Array) -> jax.Array:
        return self.out(self.norm_out(h)).astype(jnp.float32)
