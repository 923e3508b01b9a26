"""Message passing between points in space that respects rotations, reflections, translations and permutations.

A node has scalars, pseudoscalars, vectors and pseudovectors; under a reflection, the pseudo kinds get the opposite sign
of their counterparts. Products of these with the direction of an edge are dot products, cross products and products
with scalars, which is all that a tensor product of degree up to 1 consists of (e3nn, Geiger and Smidt 2022).
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp


class Features(NamedTuple):
    """Features of N nodes, or of N edges.

    scalars: float [N, S], unchanged by rotations and reflections.
    pseudoscalars: float [N, V], negated by reflections.
    vectors: float [N, V, 3], which rotate, and are negated by the reflection through the origin.
    pseudovectors: float [N, V, 3], which rotate, and are not negated by that reflection.
    """

    scalars: jax.Array
    pseudoscalars: jax.Array
    vectors: jax.Array
    pseudovectors: jax.Array


class Edges(NamedTuple):
    """Directed edges, padded.

    senders, receivers: int [E], nodes.
    exist: bool [E].
    directions: float [E, 3], unit vectors from receiver to sender.
    features: float [E, F], scalars such as a radial basis of the length.
    """

    senders: jax.Array
    receivers: jax.Array
    exist: jax.Array
    directions: jax.Array
    features: jax.Array


def products(features: Features, directions: jax.Array) -> Features:
    """All products of features [E, ...] with unit vectors [E, 3] of degree up to 1, side by side.

    For example, the vectors are the vectors themselves, the scalars times the direction, and the cross products of the
    pseudovectors with the direction.
    """
    s, q, v, p = features
    r = directions[:, None, :]
    return Features(
        jnp.concatenate([s, jnp.sum(v * r, axis=-1)], axis=-1),
        jnp.concatenate([q, jnp.sum(p * r, axis=-1)], axis=-1),
        jnp.concatenate([v, s[..., None] * r, jnp.cross(p, jnp.broadcast_to(r, p.shape))], axis=-2),
        jnp.concatenate([p, q[..., None] * r, jnp.cross(v, jnp.broadcast_to(r, v.shape))], axis=-2),
    )


def radial_basis(length: jax.Array, most: float, count: int) -> jax.Array:
    """Gaussians of a length [...] at `count` equally spaced centers from 0 to `most`: float [..., count]."""
    centers = jnp.linspace(0.0, most, count)
    return jnp.exp(-0.5 * ((length[..., None] - centers) * (count - 1) / most) ** 2)


def unit(vectors: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Unit vectors [..., 3] and lengths [...] of vectors [..., 3]; a vector of length 0 stays 0."""
    squared = jnp.sum(vectors**2, axis=-1)
    length = jnp.sqrt(jnp.where(squared > 0.0, squared, 1.0))
    return vectors / length[..., None], jnp.where(squared > 0.0, length, 0.0)


class Interaction(nn.Module):
    """One layer: every node adds the mean of its edges' messages, the products of its neighbors with the edges.

    Attributes:
      scalars: number of scalars.
      vectors: number of each of the other kinds.
    """

    scalars: int
    vectors: int

    @nn.compact
    def __call__(self, nodes: Features, edges: Edges) -> Features:
        """Maps features of N nodes to new ones, with `scalars` scalars and `vectors` of each other kind."""
        sent = Features(*(part[edges.senders] for part in nodes))
        known = [edges.features, nodes.scalars[edges.receivers], sent.scalars]
        message = self._weighted(products(sent, edges.directions), jnp.concatenate(known, axis=-1))
        count = len(nodes.scalars)
        degree = jax.ops.segment_sum(edges.exist.astype(jnp.float32), edges.receivers, count)

        def mean(part: jax.Array) -> jax.Array:
            shape = (-1,) + (1,) * (part.ndim - 1)
            total = jax.ops.segment_sum(part * edges.exist.reshape(shape), edges.receivers, count)
            return total / jnp.maximum(degree, 1.0).reshape(shape)

        received = Features(*map(mean, message))
        return normalize(add(self._mixed(nodes, "own"), activate(self._mixed(received, "received", gates=True))))

    def _weighted(self, message: Features, known: jax.Array) -> Features:
        """Scales every channel of the messages by a function of scalars that are known at the edge."""
        sizes = [part.shape[1] for part in message]
        hidden = nn.silu(nn.Dense(2 * self.scalars, name="edge_in")(known))
        weights = jnp.split(nn.Dense(sum(sizes), name="edge_out")(hidden), [sum(sizes[:i]) for i in (1, 2, 3)], axis=-1)
        s, q, v, p = weights
        return Features(
            message.scalars * s,
            message.pseudoscalars * q,
            message.vectors * v[..., None],
            message.pseudovectors * p[..., None],
        )

    def _mixed(self, features: Features, name: str, *, gates: bool = False) -> Features:
        """Linear combinations of the channels of each kind; with `gates`, more scalars, for `activate`."""
        extra = 3 * self.vectors if gates else 0

        def combine(part: jax.Array, kind: str) -> jax.Array:
            dense = nn.Dense(self.vectors, use_bias=False, name=f"{name}_{kind}")
            return dense(part) if part.ndim == 2 else dense(part.swapaxes(-1, -2)).swapaxes(-1, -2)

        return Features(
            nn.Dense(self.scalars + extra, name=f"{name}_scalars")(features.scalars),
            combine(features.pseudoscalars, "pseudoscalars"),
            combine(features.vectors, "vectors"),
            combine(features.pseudovectors, "pseudovectors"),
        )


def activate(features: Features) -> Features:
    """SiLU of the scalars; the other kinds are multiplied by gates, sigmoids of the last scalars."""
    count = features.vectors.shape[1]
    scalars, gates = jnp.split(features.scalars, [features.scalars.shape[1] - 3 * count], axis=-1)
    q, v, p = jnp.split(nn.sigmoid(gates), 3, axis=-1)
    return Features(
        nn.silu(scalars),
        features.pseudoscalars * q,
        features.vectors * v[..., None],
        features.pseudovectors * p[..., None],
    )


def add(first: Features, second: Features) -> Features:
    """The sum of features with equal numbers of channels."""
    return Features(*(one + other for one, other in zip(first, second, strict=True)))


def normalize(features: Features, epsilon: float = 1e-3) -> Features:
    """Scales each kind to a root mean square of at most 1 over a node's channels; the scalars are also centered."""
    scalars = features.scalars - jnp.mean(features.scalars, axis=-1, keepdims=True)

    def scaled(part: jax.Array) -> jax.Array:
        axes = tuple(range(1, part.ndim))
        squared = jnp.mean(part**2, axis=axes, keepdims=True) * (3.0 if part.ndim == 3 else 1.0)
        return part * jax.lax.rsqrt(squared + epsilon)

    return Features(*map(scaled, (scalars, *features[1:])))
