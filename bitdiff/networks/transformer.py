"""A Transformer over sequences, as a denoiser of real values or as a causal model of tokens.

The two modes differ in only three things: what is embedded, whether a time embedding modulates the layers, and
whether attention is causal, from token to token or from block to block of several tokens. In both, the layers may
attend to a context, such as an encoded picture.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.layers import Attention, Dense, Dropout, KeyValue, TimeEmbedding, near_zero_init, sinusoid
from bitdiff.runtime.errors import UsageError


class Block(nn.Module):
    """Self-attention, cross-attention to a context if there is one, and an MLP, each after a LayerNorm.

    A time embedding, if there is one, scales and shifts the outputs of the norms.
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
        """Returns the block's output for x float [B, L, dim], and the updated cache if one was given."""
        modulation = self._modulation(embedding)
        h, cached = self._attend_to_self(self._normalize(0, x, modulation), mask, cache)
        x = x + self.drops[0](h, dropout_keys)
        if self.crosses:
            h = self.cross(self._normalize(1, x, modulation), memory)
            x = x + self.drops[1](h, dropout_keys)
        last = len(self.norms) - 1
        h = self.mlp_out(nn.gelu(self.mlp_in(self._normalize(last, x, modulation))))
        return x + self.drops[last](h, dropout_keys), cached

    def remember(self, context: jax.Array) -> KeyValue:
        """The keys and values of a context float [B, M, any]."""
        return self.cross.remember(context)

    def _modulation(self, embedding):
        return jnp.split(self.scale_shift(embedding)[:, None], 2 * len(self.norms), axis=-1) if self.timed else None

    def _normalize(self, i, x, modulation):
        h = self.norms[i](x)
        return h if modulation is None else h * (1.0 + modulation[2 * i]) + modulation[2 * i + 1]

    def _attend_to_self(self, h, mask, cache):
        own = self.attention.remember(h)
        if cache is None:
            return self.attention(h, own, mask), None
        cached, index = cache
        own = jax.tree.map(lambda old, new: jax.lax.dynamic_update_slice_in_dim(old, new, index, axis=1), cached, own)
        return self.attention(h, own, mask), own


class Transformer(nn.Module):
    """A pre-norm Transformer with learned positions.

    Attributes:
      out_channels: channels of the output at each position.
      length: positions in a sequence.
      dim: width; dim / head_dim heads.
      layers: number of blocks.
      num_classes: number of classes, 0 for an unconditional network.
      vocab_size: 0 for real-valued input, a time and full attention; otherwise the input is tokens below it, there is
        no time, and attention is causal.
      crosses: whether the blocks attend to a context.
      block: tokens per block of a causal network, which attend to one another and to all earlier blocks.
      lagged: whether each position has its own time, added to its embedding; the mean time modulates the blocks.
      head_dim: channels per attention head.
      mlp_ratio: width of the MLP over dim.
      embed_layers: 1 embeds a position's values linearly, 2 by an MLP as wide as those of the blocks.
      dropout: rate after attention and MLP, applied if keys are given.
      remat: whether activations are recomputed in the backward pass, to save memory.
      dtype: dtype of the computation; parameters and output are float32.
    """

    out_channels: int
    length: int
    dim: int
    layers: int
    num_classes: int = 0
    vocab_size: int = 0
    crosses: bool = False
    block: int = 1
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
        # With the usual 0.02, the order of groups in a caption was not learned.
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
          memory: keys and values of the context, from `remember`.

        Returns:
          float32 [B, length, out_channels].
        """
        if x.shape[1] != self.length:
            raise UsageError(f"sequences have {x.shape[1]} positions; this network was built for {self.length}")
        own_time = jnp.zeros((), self.dtype)
        if not self.vocab_size and time is None:
            raise UsageError("this network denoises real values: it requires a time per example")
        if self.lagged and time is not None:
            time = jnp.broadcast_to(time.reshape(len(x), -1), x.shape[:2])
            own_time = self.own_time[1](nn.silu(self.own_time[0](sinusoid(time, self.dim).astype(self.dtype))))
            time = jnp.mean(time, axis=1)
        embedding = None if self.vocab_size or time is None else self.embedding(time, label)
        block = jnp.arange(self.length) // self.block
        mask = block[:, None] >= block if self.vocab_size else None
        h = self._embed(x) + own_time + self.positions.astype(self.dtype)
        for i, block in enumerate(self.blocks):
            h, _ = block(h, embedding, dropout_keys, memory[i] if memory else None, mask, None)
        return self._readout(h)

    def remember(self, context: jax.Array) -> list[KeyValue]:
        """The blocks' keys and values of a context float [B, M, any], computed once for many calls."""
        return [block.remember(context.astype(self.dtype)) for block in self.blocks]

    def empty_cache(self, batch_size: int) -> list[KeyValue]:
        """An empty cache for the keys and values of all positions, for `advance`."""
        zeros = jnp.zeros((batch_size, self.length, self._heads, self.dim // self._heads), self.dtype)
        return [KeyValue(zeros, zeros)] * self.layers

    def advance(
        self, tokens: jax.Array, index: jax.Array, cache: Sequence[KeyValue], memory: Sequence[KeyValue] | None = None
    ) -> tuple[jax.Array, list[KeyValue | None]]:
        """Applies a causal network to one block, given the cache of earlier blocks.

        Args:
          tokens: int [B, block], the tokens of the block.
          index: int [], the position of its first token.
          cache: keys and values of the earlier positions.
          memory: keys and values of the context.

        Returns:
          (float32 [B, block, out_channels], equal to `__call__` at these positions; the cache including them).
        """
        positions = jax.lax.dynamic_slice_in_dim(self.positions, index, self.block)
        h = self._embed(tokens) + positions.astype(self.dtype)
        mask = jnp.arange(self.length)[None, :] < index + self.block
        updated = []
        for i, block in enumerate(self.blocks):
            h, own = block(h, None, None, memory[i] if memory else None, mask, (cache[i], index))
            updated.append(own)
        return self._readout(h), updated

    def _embed(self, x: jax.Array) -> jax.Array:
        if self.vocab_size:
            return self.token(x)
        h = x.astype(self.dtype)
        for i, layer in enumerate(self.embed):
            h = layer(nn.gelu(h) if i else h)
        return h

    def _readout(self, h: jax.Array) -> jax.Array:
        return self.out(self.norm_out(h)).astype(jnp.float32)
