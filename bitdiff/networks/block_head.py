"""The denoiser of one block of tokens, conditioned on the output of a causal network for all earlier blocks."""

import flax.linen as nn
import jax
import jax.numpy as jnp


class BlockHead(nn.Module):
    """A Transformer over the positions of a block, each of which also receives a vector of context: f([x, c], time).

    Attributes:
      denoiser: a Transformer with real-valued input, a time, and full attention.
    """

    denoiser: nn.Module

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        time: jax.Array,
        label: jax.Array | None = None,
        dropout_keys: jax.Array | None = None,
        context: jax.Array | None = None,
    ) -> jax.Array:
        """x float [B, block, C], time float [B], context float [B, block, D] -> float32 [B, block, out_channels]."""
        del label
        assert context is not None
        return self.denoiser(jnp.concatenate([x, context], axis=-1), time, None, dropout_keys)
