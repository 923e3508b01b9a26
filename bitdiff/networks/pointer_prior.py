"""The prior over docking latents: the next pointer from those before it (Xu et al. 2024, DisCo-Diff, section 5.3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.pose_network import ComplexGraph, PoseTrunk


class PointerPrior(nn.Module):
    """A complex -> logits of each pointer.

    Attributes:
      trunk: that of the first stage's network, whose weights it starts from.
    """

    trunk: PoseTrunk

    @nn.compact
    def __call__(self, graph: ComplexGraph, x: jax.Array, sigma: jax.Array, pointers: jax.Array) -> jax.Array:
        """Predicts pointers before the ligand's pose is known.

        Args:
          graph: the complex.
          x: float [A, 3], atoms of the ligand at the receptor's center, in any orientation.
          sigma: float [], sigma of the translation at t = 1.
          pointers: float [latents, A + R], one-hot rows, with zeros for the pointers that are not yet known.

        Returns:
          float32 [latents, A + R], logits of each pointer; -inf where there is no node.
        """
        nodes, _ = self.trunk(graph, x, jnp.ones(()), sigma, pointers)
        hidden = nn.silu(nn.Dense(2 * self.trunk.scalars, name="hidden")(nodes.scalars[:-1]))  # without the hub
        logits = nn.Dense(len(pointers), name="logits")(hidden).T
        return jnp.where(jnp.concatenate([graph.atoms > 0, graph.residues > 0]), logits, -jnp.inf)
