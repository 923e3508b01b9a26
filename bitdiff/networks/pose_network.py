"""A network that predicts the scores of a ligand's pose in a receptor (DiffDock, Corso et al. 2023, section 4.4).

The graph consists of the ligand's atoms, the receptor's residues, and a hub at the ligand's center, which is connected
with all of them, so that every layer can compare distant pockets. (DiffDock has no hub; it connects all atoms with all
residues when sigma is large.) All inputs are those of one example; map the network over a batch with jax.vmap.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.networks import equivariant
from bitdiff.networks.equivariant import Edges, Features, Interaction
from bitdiff.networks.layers import sinusoid

_ATOM_PAIR, _BOND, _RESIDUE_PAIR, _TO_ATOM, _TO_RESIDUE, _TO_HUB, _FROM_HUB = range(7)  # kinds of edges
_RADIAL, _DISTANT = 16, 8  # numbers of radial basis functions, for short and for all distances
_FARTHEST = 100.0  # angstroms, the upper end of the logarithmic basis
_TIME = 32  # size of the sinusoidal embedding of t
_TIME_SCALE = 1000.0
_TORSION_SCALE = 3.0  # makes the initial outputs for torsions of the same order as those for the rotation


class ComplexGraph(NamedTuple):
    """A ligand and a receptor, padded; type 0 is padding.

    atoms: int [A], types.
    bonds: int [B, 2], pairs of bonded atoms; (0, 0) is padding.
    residues: int [R], types.
    positions: float [R, 3], of the residues.
    """

    atoms: jax.Array
    bonds: jax.Array
    residues: jax.Array
    positions: jax.Array


class Reach(NamedTuple):
    """Which nodes are connected.

    residue_neighbors: number of nearest residues with an edge to each residue.
    atom_neighbors: number of nearest residues with edges to and from each atom.
    distance: residues farther from each other than this are not connected.
    cross_distance: atoms and residues farther apart than this plus 3 sigma of the translation are not connected either.
    """

    residue_neighbors: int
    atom_neighbors: int
    distance: float
    cross_distance: float


def connect(graph: ComplexGraph, x: jax.Array, sigma: jax.Array, reach: Reach) -> Edges:
    """The edges between atoms at x [A, 3] (the first nodes), residues, and the hub (the last node), with features.

    All atoms are connected to one another. The features are radial bases of the length, up to the reach, and of its
    logarithm, up to 100 A, and the kind of the edge.
    """
    count, residues = len(graph.atoms), len(graph.residues)
    is_atom, is_residue = graph.atoms > 0, graph.residues > 0
    first, second = (index.reshape(-1) for index in jnp.meshgrid(jnp.arange(count), jnp.arange(count), indexing="ij"))
    bonded = jnp.zeros((count, count), bool).at[graph.bonds[:, 0], graph.bonds[:, 1]].set(True)
    bonded = (bonded | bonded.T)[first, second]
    pairs = (first, second, is_atom[first] & is_atom[second] & (first != second), jnp.where(bonded, _BOND, _ATOM_PAIR))

    near, close = _nearest(graph.positions, graph.positions, is_residue, reach.residue_neighbors, reach.distance, True)
    to = jnp.broadcast_to(jnp.arange(residues)[:, None], near.shape)
    inner = (count + near, count + to, close & is_residue[to], jnp.full(near.shape, _RESIDUE_PAIR))

    most = reach.cross_distance + 3.0 * sigma
    near, close = _nearest(x, graph.positions, is_residue, reach.atom_neighbors, most, False)
    to = jnp.broadcast_to(jnp.arange(count)[:, None], near.shape)
    exist = close & is_atom[to]
    inward = (count + near, to, exist, jnp.full(near.shape, _TO_ATOM))
    outward = (to, count + near, exist, jnp.full(near.shape, _TO_RESIDUE))

    others, hub = jnp.arange(count + residues), jnp.full(count + residues, count + residues)
    exist = jnp.concatenate([is_atom, is_residue])
    collected = (others, hub, exist, jnp.full(others.shape, _TO_HUB))
    spread = (hub, others, exist, jnp.full(others.shape, _FROM_HUB))

    parts = zip(pairs, *(map(jnp.ravel, part) for part in (inner, inward, outward, collected, spread)), strict=True)
    senders, receivers, exist, kind = (jnp.concatenate(part) for part in parts)
    places = jnp.concatenate([x, graph.positions, _center(x, is_atom)[None]])
    direction, length = equivariant.unit(places[senders] - places[receivers])
    longest = max(reach.distance, reach.cross_distance)
    basis = equivariant.radial_basis(jnp.minimum(length, longest), longest, _RADIAL)
    distant = equivariant.radial_basis(jnp.log1p(length), float(np.log1p(_FARTHEST)), _DISTANT)
    features = jnp.concatenate([basis, distant, jax.nn.one_hot(kind, _FROM_HUB + 1)], axis=-1)
    return Edges(senders, receivers, exist, direction, features)


class PoseTrunk(nn.Module):
    """Features of the nodes of a complex, from which scores, pointers or the confidence are predicted.

    Attributes:
      atom_types, residue_types: the largest types.
      reach: which nodes are connected.
      scalars: scalars per node.
      vectors: pseudoscalars, vectors and pseudovectors per node.
      layers: number of interactions.
      latents: number of pointers that it is conditioned on.
    """

    atom_types: int
    residue_types: int
    reach: Reach
    scalars: int = 24
    vectors: int = 6
    layers: int = 5
    latents: int = 0

    @nn.compact
    def __call__(
        self, graph: ComplexGraph, x: jax.Array, t: jax.Array, sigma: jax.Array, pointers: jax.Array | None = None
    ) -> tuple[Features, jax.Array]:
        """Maps a complex to features of its nodes (atoms, residues, hub), and of the time, float [scalars].

        Args:
          graph: the complex.
          x: float [A, 3], positions of the atoms.
          t: float [], the time.
          sigma: float [], sigma of the translation at t.
          pointers: float [latents, A + R], each a distribution over atoms and residues; a row of zeros marks a pointer
            that is dropped or not yet known, which adds a learned embedding to all nodes.
        """
        time = nn.silu(nn.Dense(self.scalars, name="time")(sinusoid(_TIME_SCALE * t, _TIME)))
        edges = connect(graph, x, sigma, self.reach)
        if self.latents:
            nothing = jnp.zeros((self.latents, len(graph.atoms) + len(graph.residues)))
            pointers = jnp.pad(nothing if pointers is None else pointers, ((0, 0), (0, 1)))  # none points at the hub
        nodes = self._embed(graph, time, pointers)
        known = [edges.features, jnp.broadcast_to(time, (len(edges.features), self.scalars))]
        if pointers is not None:
            known += [pointers[:, edges.senders].T, pointers[:, edges.receivers].T]
        edges = edges._replace(features=jnp.concatenate(known, axis=-1))
        for i in range(self.layers):
            nodes = Interaction(self.scalars, self.vectors, name=f"layer{i}")(nodes, edges)
        return nodes, time

    def _embed(self, graph: ComplexGraph, time: jax.Array, pointers: jax.Array | None) -> Features:
        """The nodes' first features: embeddings of type and time, and how much each latent points at the node."""
        parts = [embed_types(graph, self.atom_types, self.residue_types, self.scalars)]
        count = len(parts[0])
        parts.append(jnp.broadcast_to(time, (count, self.scalars)))
        if pointers is not None:
            missing = 1.0 - jnp.sum(pointers, axis=1)
            parts += [pointers.T, jnp.broadcast_to(missing, (count, len(missing)))]
        scalars = nn.Dense(self.scalars, name="embedding")(jnp.concatenate(parts, axis=-1))
        return equivariant.from_scalars(scalars, self.vectors)


def embed_types(graph: ComplexGraph, atom_types: int, residue_types: int, scalars: int) -> jax.Array:
    """Embeddings of the types of atoms and residues, and zeros for the hub: float [A + R + 1, scalars].

    Call it in a compact method.
    """
    initial = nn.initializers.normal(1.0)  # with smaller ones, it takes longer to learn which types match
    atoms = nn.Embed(atom_types + 1, scalars, embedding_init=initial, name="atoms")(graph.atoms)
    residues = nn.Embed(residue_types + 1, scalars, embedding_init=initial, name="residues")(graph.residues)
    return jnp.concatenate([atoms, residues, jnp.zeros((1, scalars))])


def _center(x: jax.Array, exist: jax.Array) -> jax.Array:
    """The mean [3] of the positions [A, 3] that exist; 0 if there are none."""
    return jnp.sum(jnp.where(exist[:, None], x, 0.0), axis=0) / jnp.maximum(jnp.sum(exist), 1)


class PoseNetwork(nn.Module):
    """Scores of a pose, divided by their norms.

    Attributes:
      trunk: maps the complex to features.
    """

    trunk: PoseTrunk

    @nn.compact
    def __call__(
        self,
        graph: ComplexGraph,
        x: jax.Array,
        t: jax.Array,
        sigma: jax.Array,
        torsions: tuple[jax.Array, jax.Array],
        pointers: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Predicts the scores of translation, rotation and torsions: float [3], [3] and [T].

        The arguments are those of the trunk, and the torsions: int [T, 2], the rotatable bonds, and bool [T, A], the
        atoms that each rotation moves.
        """
        nodes, time = self.trunk(graph, x, t, sigma, pointers)
        atoms, hub = (Features(*(part[index] for part in nodes)) for index in (slice(len(graph.atoms)), -1))
        translation, rotation = self._rigid(atoms, hub, x, graph.atoms > 0, time)
        return translation, rotation, self._torsion(atoms, x, graph.atoms > 0, torsions, time)

    def _rigid(
        self, atoms: Features, hub: Features, x: jax.Array, exist: jax.Array, time: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """A vector and a pseudovector, from the hub and products of the atoms' features with directions from it."""
        direction, length = equivariant.unit(x - _center(x, exist))
        found = equivariant.products(atoms, direction)
        known = jnp.concatenate(
            [
                equivariant.radial_basis(jnp.minimum(length, 10.0), 10.0, _RADIAL),
                atoms.scalars,
                jnp.broadcast_to(time, atoms.scalars.shape),
            ],
            axis=-1,
        )
        outputs = []
        for name, part, own in (
            ("translation", found.vectors, hub.vectors),
            ("rotation", found.pseudovectors, hub.pseudovectors),
        ):
            hidden = nn.silu(nn.Dense(2 * self.trunk.scalars, name=f"{name}_in")(known))
            weights = nn.Dense(part.shape[-1], name=f"{name}_out")(hidden) * exist[:, None]
            total = jnp.einsum("ac,adc->d", weights, part) / jnp.maximum(jnp.sum(exist), 1)
            total += nn.Dense(1, use_bias=False, name=f"{name}_hub")(own)[:, 0]
            known_globally = jnp.concatenate([jnp.sum(total**2)[None], hub.scalars, time])
            hidden = nn.silu(nn.Dense(2 * self.trunk.scalars, name=f"{name}_scale_in")(known_globally))
            gate = nn.Dense(1, name=f"{name}_scale_out")(hidden)
            outputs.append(total * (1.0 + gate))
        return outputs[0], outputs[1]

    def _torsion(
        self, atoms: Features, x: jax.Array, exist: jax.Array, torsions: tuple[jax.Array, jax.Array], time: jax.Array
    ) -> jax.Array:
        """A pseudoscalar per rotatable bond, from the pseudoscalars that the atoms form with the bond's axis."""
        bonds, moved = torsions
        axis, _ = equivariant.unit(x[bonds[:, 1]] - x[bonds[:, 0]])  # [T, 3]
        middle = 0.5 * (x[bonds[:, 1]] + x[bonds[:, 0]])
        direction, length = equivariant.unit(x[None] - middle[:, None])  # [T, A, 3]
        # Reversing a bond reverses its axis and the side that moves, so only their product may matter.
        along = axis[:, None] * jnp.where(moved, 1.0, -1.0)[..., None]
        s, q, v, p = atoms
        found = jnp.concatenate(
            [
                jnp.broadcast_to(q, (len(bonds), *q.shape)),
                equivariant.dot(p, direction),
                equivariant.dot(p, along),
                equivariant.dot(v, jnp.cross(along, direction)),
            ],
            axis=-1,
        )
        around = jnp.broadcast_to(
            jnp.concatenate([s, jnp.broadcast_to(time, s.shape)], axis=-1), (*length.shape, 2 * s.shape[1])
        )
        known = jnp.concatenate([equivariant.radial_basis(jnp.minimum(length, 10.0), 10.0, _RADIAL), around], axis=-1)
        hidden = nn.silu(nn.Dense(2 * self.trunk.scalars, name="torsion_in")(known))
        # The sides of the bond are averaged separately; otherwise, a side of one or two atoms would have little weight.
        side = jnp.where(moved, jnp.sum(moved & exist, axis=1)[:, None], jnp.sum(~moved & exist, axis=1)[:, None])
        weights = nn.Dense(found.shape[-1], name="torsion_out")(hidden) * (exist / jnp.maximum(side, 1))[..., None]
        total = _TORSION_SCALE * jnp.sum(weights * found, axis=1)
        h = jnp.tanh(nn.Dense(2 * self.trunk.scalars, use_bias=False, name="torsion_mix")(total))  # an odd function
        return nn.Dense(1, use_bias=False, name="torsion_score")(h)[:, 0]


def _nearest(
    x: jax.Array, places: jax.Array, exist: jax.Array, count: int, most: jax.Array | float, same: bool
) -> tuple[jax.Array, jax.Array]:
    """For each of x [N, 3], the `count` nearest places that exist, int [N, count], and whether they are within `most`.

    With `same`, x are the places, and none is its own neighbor.
    """
    squared = jnp.sum((x[:, None] - places[None]) ** 2, axis=-1)
    squared = jnp.where(exist[None], squared, jnp.inf)
    if same:
        squared = jnp.where(jnp.eye(len(places), dtype=bool), jnp.inf, squared)
    negative, index = jax.lax.top_k(-squared, min(count, len(places)))
    return index, -negative <= jnp.square(most)
