"""Message passing between points in space that respects rotations, reflections, translations and permutations.

A node has scalars, pseudoscalars, vectors and pseudovectors; under a reflection, the pseudo kinds transform like their
counterparts, with an additional change of sign. Products of these with the direction of an edge are dot products, cross
products, products with scalars, and the components along the direction. These span the tensor products with spherical
harmonics of degree up to 2 (e3nn, Geiger and Smidt 2022) that yield one of the four kinds.
"""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

_PRODUCTS = 11  # with V channels: 1 scalar, 2 pseudoscalars, 4 vectors and 4 pseudovectors


class Features(NamedTuple):
    """Features of N nodes, or of N edges.

    scalars: float [N, S], unchanged by rotations and reflections.
    pseudoscalars: float [N, V], negated by reflections.
    vectors: float [N, 3, V], which rotate, and are negated by the reflection through the origin.
    pseudovectors: float [N, 3, V], which rotate, and are not negated by that reflection.
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


def from_scalars(scalars: jax.Array, vectors: int) -> Features:
    """Features with scalars [N, S], and `vectors` channels of zeros for each other kind."""
    empty = jnp.zeros((len(scalars), 3, vectors))
    return Features(scalars, empty[:, 0], empty, empty)


def products(features: Features, directions: jax.Array) -> Features:
    """All products of features [N, ...] with unit vectors [N, 3], side by side.

    For example, the vectors are the vectors themselves, the scalars times the direction, the vectors' components along
    the direction, and the cross products of the pseudovectors with the direction.
    """
    s, q, v, p = features
    r = directions[..., None]
    along_v, along_p = dot(v, directions), dot(p, directions)
    return Features(
        jnp.concatenate([s, along_v], axis=-1),
        jnp.concatenate([q, along_p], axis=-1),
        jnp.concatenate([v, s[:, None] * r, along_v[:, None] * r, cross(p, directions)], axis=-1),
        jnp.concatenate([p, q[:, None] * r, along_p[:, None] * r, cross(v, directions)], axis=-1),
    )


def dot(vectors: jax.Array, directions: jax.Array) -> jax.Array:
    """Dot products of vectors [..., 3, V] with one vector [..., 3] each: [..., V]."""
    return jnp.sum(vectors * directions[..., None], axis=-2)


def cross(vectors: jax.Array, directions: jax.Array) -> jax.Array:
    """Cross products of vectors [..., 3, V] with one vector [..., 3] each: [..., 3, V]."""
    a, b, c = (vectors[..., i, :] for i in range(3))
    x, y, z = (directions[..., i, None] for i in range(3))
    return jnp.stack([b * z - c * y, c * x - a * z, a * y - b * x], axis=-2)


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
    """One layer: every node sums the messages from its neighbors, and adds the result to a linear map of its features.

    A message consists of products of the neighbor's features with the direction of the edge. The sum of the messages is
    divided by the square root of their number. Products that yield the same kind are summed,
    except for scalars, which are concatenated. Each is weighted by a function of the edge and of the scalars of its two
    nodes.

    Attributes:
      scalars: number of scalars.
      vectors: number of each of the other kinds.
    """

    scalars: int
    vectors: int

    @nn.compact
    def __call__(self, nodes: Features, edges: Edges) -> Features:
        """Maps features of N nodes to new ones, with `scalars` scalars and `vectors` of each other kind."""
        weights = self._weights(nodes.scalars, edges)
        carried = nn.Dense(self.vectors, use_bias=False, name="carried")(nodes.scalars)
        sent = Features(*(part[edges.senders] for part in nodes))
        messages = _messages(sent, carried[edges.senders], weights, edges.directions)
        count = len(nodes.scalars)
        degree = jax.ops.segment_sum(edges.exist.astype(jnp.float32), edges.receivers, count)

        def gather(part: jax.Array) -> jax.Array:
            total = jax.ops.segment_sum(part, edges.receivers, count)
            return total / jnp.sqrt(jnp.maximum(degree, 1.0)).reshape(-1, *(1,) * (part.ndim - 1))

        received = Features(*map(gather, messages))
        return normalize(add(self._mixed(nodes, "own"), activate(self._mixed(received, "received", gates=True))))

    def _weights(self, scalars: jax.Array, edges: Edges) -> list[jax.Array]:
        """The weight of every channel of each product [E, channels], from scalars that are known at the edge."""
        width = 2 * self.scalars
        hidden = nn.Dense(width, name="edge")(edges.features)
        receiver = nn.Dense(width, use_bias=False, name="receiver")(scalars)[edges.receivers]
        sender = nn.Dense(width, use_bias=False, name="sender")(scalars)[edges.senders]
        hidden += receiver + sender + receiver * sender  # the product helps to learn which types match
        sizes = [scalars.shape[1]] + _PRODUCTS * [self.vectors]
        weights = nn.Dense(sum(sizes), name="weights")(nn.silu(hidden)) * edges.exist[:, None]
        return jnp.split(weights, np.cumsum(sizes)[:-1], axis=-1)

    def _mixed(self, features: Features, name: str, *, gates: bool = False) -> Features:
        """Linear combinations of the channels of each kind; with `gates`, more scalars, for `activate`."""
        extra = 3 * self.vectors if gates else 0

        def combine(part: jax.Array, kind: str) -> jax.Array:
            return nn.Dense(self.vectors, use_bias=False, name=f"{name}_{kind}")(part)

        return Features(
            nn.Dense(self.scalars + extra, name=f"{name}_scalars")(features.scalars),
            combine(features.pseudoscalars, "pseudoscalars"),
            combine(features.vectors, "vectors"),
            combine(features.pseudovectors, "pseudovectors"),
        )


def _messages(sent: Features, carried: jax.Array, weights: list[jax.Array], directions: jax.Array) -> Features:
    """The weighted products; `carried` [E, V] are the scalars that are multiplied by the direction."""
    s, q, v, p = sent
    # a_b weights the product that turns b into a, and a_r the component along the direction.
    s_s, s_v, q_q, q_p, v_v, v_s, v_r, v_p, p_p, p_q, p_r, p_v = weights
    r = directions[:, :, None]
    along_v, along_p = dot(v, directions), dot(p, directions)
    return Features(
        jnp.concatenate([s_s * s, s_v * along_v], axis=-1),
        q_q * q + q_p * along_p,
        v_v[:, None] * v + (v_s * carried + v_r * along_v)[:, None] * r + v_p[:, None] * cross(p, directions),
        p_p[:, None] * p + (p_q * q + p_r * along_p)[:, None] * r + p_v[:, None] * cross(v, directions),
    )


def activate(features: Features) -> Features:
    """SiLU of the scalars; the other kinds are multiplied by gates, sigmoids of the last scalars."""
    count = features.vectors.shape[-1]
    scalars, gates = jnp.split(features.scalars, [features.scalars.shape[1] - 3 * count], axis=-1)
    q, v, p = jnp.split(nn.sigmoid(gates), 3, axis=-1)
    return Features(
        nn.silu(scalars),
        features.pseudoscalars * q,
        features.vectors * v[:, None],
        features.pseudovectors * p[:, None],
    )


def add(first: Features, second: Features) -> Features:
    """The sum of features with equal numbers of channels."""
    return Features(*(one + other for one, other in zip(first, second, strict=True)))


def normalize(features: Features) -> Features:
    """Standardizes each node's scalars, and divides each other kind by sqrt(1 + mean square) over its channels.

    This bounds vectors, but preserves the magnitudes of small ones, such as forces near an equilibrium.
    """
    scalars = features.scalars - jnp.mean(features.scalars, axis=-1, keepdims=True)

    def scaled(part: jax.Array, offset: float) -> jax.Array:
        axes = tuple(range(1, part.ndim))
        squared = jnp.mean(part**2, axis=axes, keepdims=True) * (3.0 if part.ndim == 3 else 1.0)
        return part * jax.lax.rsqrt(squared + offset)

    return Features(scaled(scalars, 1e-3), *(scaled(part, 1.0) for part in features[1:]))
