"""An MLP over points of a few real numbers, for data in two dimensions."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.layers import Dense, Dropout, class_features


class MLP(nn.Module):
    """Dense layers with SiLU on the concatenation of the point, the time, the label and the context.

    Attributes:
      out_channels: channels of the output.
      dim: width of the hidden layers.
      layers: number of Dense layers, including the last.
      num_classes: number of classes, 0 for an unconditional network.
      dropout: rate after each hidden layer, applied if keys are given.
      dtype: dtype of the computation; parameters and output are float32.
    """

    out_channels: int
    dim: int
    layers: int
    num_classes: int = 0
    dropout: float = 0.0
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
          x: float [B, C].
          time: float [B], used without embedding: O(1).
          label: int [B] in [-1, num_classes), -1 for the null label.
          dropout_keys: PRNG keys [B], or None for no dropout.
          context: float [B, M, any], or None.

        Returns:
          float32 [B, out_channels].
        """
        parts = [x, time[:, None]]
        if self.num_classes:
            assert label is not None
            parts.append(class_features(label, self.num_classes))
        if context is not None:
            parts.append(context.reshape(len(x), -1))
        h = jnp.concatenate([part.astype(self.dtype) for part in parts], axis=-1)
        for i in range(self.layers - 1):
            h = nn.silu(Dense(self.dim, dtype=self.dtype, name=f"hidden{i}")(h))
            h = Dropout(self.dropout, name=f"dropout{i}")(h, dropout_keys)
        return Dense(self.out_channels, dtype=self.dtype, name="out")(h).astype(jnp.float32)
