"""The network of a confidence model, which predicts whether a ligand's pose is close to the true one.

Corso et al. 2023, DiffDock.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks.pose_network import ComplexGraph, PoseTrunk


class PoseConfidence(nn.Module):
    """A complex with a pose -> the logit of the probability that the pose is close to the true one.

    Attributes:
      trunk: the architecture of the pose network's trunk, from whose weights training starts.
    """

    trunk: PoseTrunk

    @nn.compact
    def __call__(self, graph: ComplexGraph, x: jax.Array, sigma: jax.Array) -> jax.Array:
        """Atoms at x [A, 3], and sigma of the translation at t = 0, float [] -> float32 []."""
        nodes, _ = self.trunk(graph, x, jnp.zeros(()), sigma)
        atoms, exist = nodes.scalars[: len(graph.atoms)], graph.atoms > 0
        hidden = nn.silu(nn.Dense(2 * self.trunk.scalars, name="hidden")(atoms))
        mean = jnp.sum(jnp.where(exist[:, None], hidden, 0.0), axis=0) / jnp.maximum(jnp.sum(exist), 1)
        hidden = nn.silu(nn.Dense(2 * self.trunk.scalars, name="pooled")(mean))
        return nn.Dense(1, name="logit")(hidden)[0]
