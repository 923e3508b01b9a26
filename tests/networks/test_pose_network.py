"""The network of docking: its graph, and how its scores respond to rotations, reflections and padding."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bitdiff.networks.pointer_encoder import PointerEncoder
from bitdiff.networks.pointer_prior import PointerPrior
from bitdiff.networks.pose_confidence import PoseConfidence
from bitdiff.networks.pose_network import ComplexGraph, PoseNetwork, PoseTrunk, Reach, connect

ATOMS, RESIDUES, LATENTS = 6, 12, 2
REACH = Reach(residue_neighbors=4, atom_neighbors=5, distance=15.0, cross_distance=12.0)
T, SIGMA = jnp.array(0.4), jnp.array(1.0)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    graph = ComplexGraph(
        atoms=jnp.asarray([1, 2, 3, 1, 2, 0]),  # the last is padding
        bonds=jnp.asarray([[0, 1], [1, 2], [2, 3], [3, 4], [0, 0]]),
        residues=jnp.asarray([1, 2, 3, 1, 2, 3, 1, 2, 3, 0, 0, 0]),
        positions=jnp.asarray(np.where(np.arange(12)[:, None] < 9, rng.normal(size=(RESIDUES, 3)) * 5, 0), jnp.float32),
    )
    x = jnp.asarray(np.where(np.arange(6)[:, None] < 5, rng.normal(size=(ATOMS, 3)) * 2, 0), jnp.float32)
    torsions = (jnp.asarray([[1, 2], [2, 3]]), jnp.asarray([np.arange(6) > 2, np.arange(6) > 3]) & (graph.atoms > 0))
    pointers = jax.nn.softmax(jnp.asarray(rng.normal(size=(LATENTS, ATOMS + RESIDUES)), jnp.float32))
    network = PoseNetwork(PoseTrunk(3, 3, REACH, scalars=8, vectors=4, layers=2, latents=LATENTS))
    params = network.init(jax.random.key(0), graph, x, T, SIGMA, torsions, pointers)

    def scores(graph=graph, x=x, torsions=torsions, pointers=pointers):
        return network.apply(params, graph, x, T, SIGMA, torsions, pointers)

    return scores, graph, x, torsions, pointers


@pytest.mark.parametrize("reflect", [1.0, -1.0])
def test_scores_rotate_and_reflect_with_the_complex(case, reflect):
    scores, graph, x, *_ = case
    matrix, shift = reflect * Rotation.random(random_state=1).as_matrix(), np.array([2.0, -1.0, 5.0])
    move = lambda places: jnp.asarray(places @ matrix.T + shift, jnp.float32)  # noqa: E731
    translation, rotation, torsion = scores()
    found = scores(graph._replace(positions=move(graph.positions)), move(x))
    np.testing.assert_allclose(found[0], translation @ matrix.T, atol=1e-5)
    np.testing.assert_allclose(found[1], reflect * rotation @ matrix.T, atol=1e-5)
    np.testing.assert_allclose(found[2], reflect * torsion, atol=1e-5)
    assert all(np.abs(part).max() > 1e-3 for part in (translation, rotation, torsion))


def test_a_permutation_of_atoms_and_residues_changes_nothing(case):
    scores, graph, x, (bonds, moved), pointers = case
    rng = np.random.default_rng(2)
    atoms, residues = rng.permutation(ATOMS), rng.permutation(RESIDUES)
    place = jnp.asarray(np.argsort(atoms))
    changed = ComplexGraph(
        graph.atoms[atoms], place[graph.bonds[:4]], graph.residues[residues], graph.positions[residues]
    )
    order = np.concatenate([atoms, ATOMS + residues])
    found = scores(changed, x[atoms], (place[bonds], moved[:, atoms]), pointers[:, order])
    for one, other in zip(found, scores(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_reversing_a_rotatable_bond_does_not_change_its_score(case):
    scores, graph, _, (bonds, moved), _ = case
    reverse = (bonds[:, ::-1], ~moved & (graph.atoms > 0))
    np.testing.assert_allclose(scores(torsions=reverse)[2], scores()[2], atol=1e-5)


def test_where_padding_is_does_not_matter(case):
    scores, graph, x, *_ = case
    far = graph._replace(positions=graph.positions.at[9:].set(3.0))
    for one, other in zip(scores(far, x.at[5].set(1.0)), scores(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_every_input_has_an_effect(case):
    scores, graph, x, _, pointers = case
    changes = [
        scores(graph._replace(atoms=graph.atoms.at[0].set(2))),
        scores(graph._replace(residues=graph.residues.at[0].set(2))),
        scores(graph._replace(positions=graph.positions.at[0].add(0.5))),
        scores(graph._replace(bonds=graph.bonds.at[3].set(jnp.array([0, 4])))),
        scores(x=x.at[0].add(0.2)),
        scores(pointers=pointers[:, ::-1]),
    ]
    for found in changes:
        assert np.abs(found[0] - scores()[0]).max() > 1e-5


def test_edge_features_distinguish_long_distances(case):
    _, graph, *_ = case
    found = []
    for distance in (20.0, 30.0, 45.0, 65.0):
        x = jnp.zeros((ATOMS, 3)) + jnp.array([distance, 0, 0])
        edges = connect(graph._replace(positions=jnp.zeros((RESIDUES, 3))), x, jnp.array(19.0), REACH)
        inward = np.asarray(edges.exist & (edges.senders >= ATOMS) & (edges.receivers < ATOMS))
        found.append(np.asarray(edges.features)[inward][0])
    for one, other in itertools.combinations(found, 2):
        assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize("reflect", [1.0, -1.0])
def test_pointers_and_confidence_do_not_depend_on_the_orientation_or_on_the_order(case, reflect):
    _, graph, x, *_ = case
    matrix, shift = reflect * Rotation.random(random_state=1).as_matrix(), np.array([2.0, -1.0, 5.0])
    move = lambda places: jnp.asarray(places @ matrix.T + shift, jnp.float32)  # noqa: E731
    rng = np.random.default_rng(3)
    atoms, residues = rng.permutation(ATOMS), rng.permutation(RESIDUES)
    place = jnp.asarray(np.argsort(atoms))
    changed = ComplexGraph(
        graph.atoms[atoms], place[graph.bonds[:4]], graph.residues[residues], move(graph.positions)[residues]
    )
    trunk = PoseTrunk(3, 3, REACH, scalars=8, vectors=4, layers=2, latents=LATENTS)
    known = jnp.zeros((LATENTS, ATOMS + RESIDUES))
    order = np.concatenate([atoms, ATOMS + residues])
    for network, rest in (
        (PointerEncoder(LATENTS, 3, 3, REACH, scalars=8, vectors=4, layers=2), ()),
        (PointerPrior(trunk), (SIGMA, known)),
        (PoseConfidence(trunk), (SIGMA,)),
    ):
        params = network.init(jax.random.key(0), graph, x, *rest)
        first = np.asarray(network.apply(params, graph, x, *rest))
        second = np.asarray(network.apply(params, changed, move(x)[atoms], *rest))
        np.testing.assert_allclose(second, first[:, order] if first.ndim else first, atol=1e-5)


def test_edges_are_those_of_brute_force(case):
    _, graph, x, *_ = case
    edges = connect(graph, x, jnp.array(0.0), REACH._replace(cross_distance=6.0))
    found = set(
        zip(
            *(np.asarray(part)[np.asarray(edges.exist)].tolist() for part in (edges.senders, edges.receivers)),
            strict=True,
        )
    )
    places, positions = np.asarray(x[:5]), np.asarray(graph.positions[:9])
    expected = {(i, j) for i in range(5) for j in range(5) if i != j}
    for i in range(9):
        distance = np.linalg.norm(positions - positions[i], axis=1)
        expected |= {(ATOMS + j, ATOMS + i) for j in np.argsort(distance)[1:5] if distance[j] <= 15}
    for i in range(5):
        distance = np.linalg.norm(positions - places[i], axis=1)
        for j in np.argsort(distance)[:5]:
            if distance[j] <= 6:
                expected |= {(ATOMS + j, i), (i, ATOMS + j)}
    hub = ATOMS + len(graph.residues)
    for node in (*range(5), *range(ATOMS, ATOMS + 9)):
        expected |= {(node, hub), (hub, node)}
    assert found == {(int(i), int(j)) for i, j in expected}
    bonds = np.asarray(edges.features[:, 16 + 8 + 1], bool) & np.asarray(edges.exist)
    assert bonds.sum() == 8  # four bonds, in both directions
