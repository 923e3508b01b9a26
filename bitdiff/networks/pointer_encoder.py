"""The encoder of docking latents, which point at atoms and residues (Xu et al. 2024, DisCo-Diff, section 5.3)."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.networks import equivariant
from bitdiff.networks.equivariant import Interaction
from bitdiff.networks.pose_network import ComplexGraph, Reach, connect, embed_types


class PointerEncoder(nn.Module):
    """A complex with its true pose -> logits of `count` pointers to its nodes.

    Attributes:
      count: number of pointers.
      atom_types, residue_types: the largest types.
      reach: which nodes are connected.
      scalars: scalars per node.
      vectors: pseudoscalars, vectors and pseudovectors per node.
      layers: number of interactions.
    """

    count: int
    atom_types: int
    residue_types: int
    reach: Reach
    scalars: int = 24
    vectors: int = 4
    layers: int = 3

    @nn.compact
    def __call__(self, graph: ComplexGraph, x: jax.Array) -> jax.Array:
        """Atoms at x [A, 3] -> float32 [count, A + R], atoms first; -inf where there is no node."""
        scalars = embed_types(graph, self.atom_types, self.residue_types, self.scalars)
        nodes = equivariant.from_scalars(scalars, self.vectors)
        edges = connect(graph, x, jnp.zeros(()), self.reach)
        for i in range(self.layers):
            nodes = Interaction(self.scalars, self.vectors, name=f"layer{i}")(nodes, edges)
        hidden = nn.silu(nn.Dense(self.scalars, name="hidden")(nodes.scalars[:-1]))  # without the hub
        logits = nn.Dense(self.count, name="logits")(hidden).T
        exist = jnp.concatenate([graph.atoms > 0, graph.residues > 0])
        return jnp.where(exist, logits, -jnp.inf)
