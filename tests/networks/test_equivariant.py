"""Equivariant message passing: rotations, reflections, translations, permutations, padding, and degenerate edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bitdiff.networks import equivariant
from bitdiff.networks.equivariant import Edges, Features, Interaction

NODES, SCALARS, VECTORS = 7, 8, 4


def random_features(rng):
    return Features(
        *(
            jnp.asarray(rng.normal(size=shape), jnp.float32)
            for shape in ((NODES, SCALARS), (NODES, VECTORS), (NODES, 3, VECTORS), (NODES, 3, VECTORS))
        )
    )


def edges_of(x, senders, receivers, exist):
    direction, length = equivariant.unit(x[senders] - x[receivers])
    return Edges(senders, receivers, exist, direction, equivariant.radial_basis(length, 5.0, 6))


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    nodes, x = random_features(rng), jnp.asarray(rng.normal(size=(NODES, 3)), jnp.float32)
    senders, receivers = map(jnp.asarray, np.nonzero(~np.eye(NODES, dtype=bool)))
    exist = jnp.asarray(rng.random(len(senders)) < 0.7)
    layers = [Interaction(SCALARS, VECTORS) for _ in range(2)]
    params = [
        layer.init(jax.random.key(i), nodes, edges_of(x, senders, receivers, exist)) for i, layer in enumerate(layers)
    ]

    def network(nodes, x, senders=senders, receivers=receivers, exist=exist):
        edges = edges_of(x, senders, receivers, exist)
        for layer, one in zip(layers, params, strict=True):
            nodes = layer.apply(one, nodes, edges)
        return nodes

    return network, nodes, x, senders, receivers, exist


def transformed(features, matrix):
    """Features after an orthogonal transformation; a reflection has determinant -1."""
    sign = np.linalg.det(matrix)
    return Features(
        features.scalars,
        sign * features.pseudoscalars,
        jnp.einsum("ij,njv->niv", matrix, features.vectors),
        sign * jnp.einsum("ij,njv->niv", matrix, features.pseudovectors),
    )


def assert_close(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("reflect", [1.0, -1.0])
def test_outputs_rotate_and_reflect_with_the_inputs(case, reflect):
    network, nodes, x, *_ = case
    matrix = reflect * Rotation.random(random_state=1).as_matrix()
    expected = transformed(network(nodes, x), matrix)
    assert_close(network(transformed(nodes, matrix), x @ matrix.T), expected)
    assert np.abs(expected.pseudoscalars).min() > 1e-3  # every kind is in use
    assert np.abs(expected.pseudovectors).max() > 1e-2


def test_outputs_do_not_depend_on_the_origin(case):
    network, nodes, x, *_ = case
    assert_close(network(nodes, x + jnp.array([3.0, -2.0, 1.0])), network(nodes, x))


def test_outputs_are_permuted_with_the_inputs(case):
    network, nodes, x, senders, receivers, exist = case
    order = np.random.default_rng(2).permutation(NODES)
    place = np.argsort(order)  # where each node is after the permutation
    shuffled = np.random.default_rng(3).permutation(len(senders))
    found = network(
        Features(*(part[order] for part in nodes)),
        x[order],
        jnp.asarray(place)[senders][shuffled],
        jnp.asarray(place)[receivers][shuffled],
        exist[shuffled],
    )
    assert_close(found, Features(*(part[order] for part in network(nodes, x))))


def test_padding_edges_have_no_effect(case):
    network, nodes, x, senders, receivers, exist = case
    padded = [jnp.concatenate([array, jnp.zeros(5, array.dtype)]) for array in (senders, receivers, exist)]
    assert_close(network(nodes, x, *padded), network(nodes, x))
    chosen = np.asarray(exist)
    assert_close(network(nodes, x, senders[chosen], receivers[chosen], exist[chosen]), network(nodes, x))


def test_products_are_those_of_vector_algebra():
    rng = np.random.default_rng(4)
    features, direction = random_features(rng), jnp.asarray(rng.normal(size=(NODES, 3)), jnp.float32)
    found = equivariant.products(features, direction)
    i, j = 2, 1
    r, v, p = (np.asarray(a, float) for a in (direction[i], features.vectors[i, :, j], features.pseudovectors[i, :, j]))
    np.testing.assert_allclose(found.scalars[i, SCALARS + j], v @ r, rtol=1e-5)
    np.testing.assert_allclose(found.pseudoscalars[i, VECTORS + j], p @ r, rtol=1e-5)
    np.testing.assert_allclose(found.vectors[i, :, VECTORS + j], features.scalars[i, j] * r, rtol=1e-5)
    np.testing.assert_allclose(found.vectors[i, :, VECTORS + SCALARS + j], v @ r * r, rtol=1e-4)
    np.testing.assert_allclose(found.vectors[i, :, 2 * VECTORS + SCALARS + j], np.cross(p, r), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found.pseudovectors[i, :, VECTORS + j], features.pseudoscalars[i, j] * r, rtol=1e-5)
    np.testing.assert_allclose(found.pseudovectors[i, :, 2 * VECTORS + j], p @ r * r, rtol=1e-4)
    np.testing.assert_allclose(found.pseudovectors[i, :, 3 * VECTORS + j], np.cross(v, r), rtol=1e-4, atol=1e-6)


def test_messages_are_weighted_sums_of_products():
    rng = np.random.default_rng(6)
    features, direction = random_features(rng), jnp.asarray(rng.normal(size=(NODES, 3)), jnp.float32)
    carried = jnp.asarray(rng.normal(size=(NODES, VECTORS)), jnp.float32)
    sizes = [SCALARS] + 11 * [VECTORS]
    weights = [jnp.asarray(rng.normal(size=(NODES, size)), jnp.float32) for size in sizes]
    found = equivariant._messages(features, carried, weights, direction)
    all_products = equivariant.products(features._replace(scalars=carried), direction)
    parts = {
        name: np.split(np.asarray(part), part.shape[-1] // VECTORS, -1) for name, part in all_products._asdict().items()
    }
    w = [np.asarray(weight) for weight in weights]
    scalars = np.concatenate([w[0] * features.scalars, w[1] * parts["scalars"][1]], axis=-1)
    pseudoscalars = sum(a * b for a, b in zip(w[2:4], parts["pseudoscalars"], strict=True))
    vectors, pseudovectors = (
        sum(a[:, None] * b for a, b in zip(some, parts[name], strict=True))
        for some, name in ((w[4:8], "vectors"), (w[8:], "pseudovectors"))
    )
    assert_close(found, Features(scalars, pseudoscalars, vectors, pseudovectors))


def test_two_nodes_at_the_same_place_have_finite_gradients(case):
    network, nodes, x, *_ = case
    same = x.at[1].set(x[0])
    gradient = jax.grad(lambda x: network(nodes, x).scalars.sum())(same)
    assert np.isfinite(gradient).all()


def test_products_are_those_of_e3nn():
    e3nn_jax = pytest.importorskip("e3nn_jax")
    rng = np.random.default_rng(5)
    features, direction = random_features(rng), jnp.asarray(rng.normal(size=(NODES, 3)), jnp.float32)
    found = equivariant.products(features, direction)
    edge = e3nn_jax.IrrepsArray("1o", direction)
    harmonics = e3nn_jax.spherical_harmonics("2e", edge, normalize=False, normalization="norm")

    def tensor_product(kind, part, output, edge=edge):
        """All products of a kind of features with the direction that have the output's kind, [N, channels, ...]."""
        count = part.shape[-1]
        flat = jnp.moveaxis(part, -1, 1).reshape(NODES, -1)
        product = e3nn_jax.tensor_product(e3nn_jax.IrrepsArray(f"{count}x{kind}", flat), edge, filter_ir_out=[output])
        return jnp.moveaxis(product.array.reshape(NODES, count, -1), 1, -1)

    def along(kind, part):
        """The component along the direction: the product of degree 2, and a third of the part itself."""
        squared = jnp.sum(direction**2, axis=-1)[:, None, None]
        return np.sqrt(10) / 3 * tensor_product(kind, part, kind, harmonics) + squared * part / 3

    s, q, v, p = features
    # e3nn normalizes the dot product by sqrt(3) and the cross product by sqrt(2).
    dot, cross = np.sqrt(3), np.sqrt(2)
    assert_close(
        found,
        Features(
            jnp.concatenate([s, dot * tensor_product("1o", v, "0e")[:, 0]], -1),
            jnp.concatenate([q, dot * tensor_product("1e", p, "0o")[:, 0]], -1),
            jnp.concatenate(
                [v, tensor_product("0e", s, "1o"), along("1o", v), cross * tensor_product("1e", p, "1o")], -1
            ),
            jnp.concatenate(
                [p, tensor_product("0o", q, "1e"), along("1e", p), cross * tensor_product("1o", v, "1e")], -1
            ),
        ),
    )
