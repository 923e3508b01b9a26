"""Generated complexes: geometry of ligands and pockets, known probabilities, and padding."""

import numpy as np
import pytest

from bitdiff.data import pockets


@pytest.fixture(scope="module")
def complexes():
    rng = np.random.default_rng(0)
    return [pockets.draw_complex(rng) for _ in range(40)]


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def test_ligands_are_trees_of_separate_atoms(complexes):
    for one in complexes:
        x = one.poses[0]
        assert pockets.ATOMS[0] <= len(x) <= pockets.ATOMS[1]
        assert len(one.bonds) == len(x) - 1
        between = distances(x, x)
        np.testing.assert_allclose([between[i, j] for i, j in one.bonds], 1.5, rtol=1e-6)
        assert np.sort(between, axis=1)[:, 1].min() > 1.39
        joined = {0}
        for i, j in one.bonds:
            assert i in joined
            joined.add(j)
        assert joined == set(range(len(x)))


def test_both_poses_are_rigid_copies_far_apart_and_not_mirrored(complexes):
    for one in complexes:
        first, second = (pose - pose.mean(axis=0) for pose in one.poses)
        np.testing.assert_allclose(distances(first, first), distances(second, second), atol=1e-9)
        u, _, v = np.linalg.svd(first.T @ second)
        rotation = u @ v
        np.testing.assert_allclose(first @ rotation, second, atol=1e-6)
        assert np.linalg.det(rotation) == pytest.approx(1)
        assert 15.9 < np.linalg.norm(one.poses[0].mean(axis=0) - one.poses[1].mean(axis=0)) < 22.1


def test_pockets_are_lined_with_residues_of_the_atoms_types(complexes):
    for one in complexes:
        assert pockets.RESIDUES[0] <= len(one.residues) <= pockets.RESIDUES[1]
        assert distances(one.positions, one.poses.reshape(-1, 3)).min() > 3.79
        between = distances(one.positions, one.positions)
        assert between[~np.eye(len(between), dtype=bool)].min() > 3.79
        for pose, marker in zip(one.poses, (pockets.STRONG_MARKER, pockets.WEAK_MARKER), strict=True):
            (place,) = one.positions[one.residues == marker]
            assert np.linalg.norm(place - pose.mean(axis=0)) == pytest.approx(7.2)
        lining = np.flatnonzero(one.residues <= pockets.ATOM_TYPES)
        near = distances(one.positions[lining], one.poses.reshape(-1, 3))
        types = np.tile(one.atoms, 2)
        matching = np.where(types[None] == one.residues[lining][:, None], np.abs(near - 4.5), np.inf)
        assert matching.min(axis=1).max() < 1e-6  # each is next to an atom of its type
        assert len(lining) >= 8


def test_poses_are_drawn_with_the_known_probabilities_and_padded():
    arrays = pockets.draw_examples(300, seed=3)
    # Standard error: sqrt(0.7 x 0.3 / 300) = 0.026
    assert (arrays["pocket"] == 0).mean() == pytest.approx(pockets.STRONG, abs=0.08)
    exist = arrays["atoms"] > 0
    assert (arrays["pose"][~exist] == 0).all()
    assert exist[:, : pockets.ATOMS[0]].all()
    assert not exist.all()
    row = np.arange(300)
    np.testing.assert_array_equal(arrays["poses"][row, arrays["pocket"]], arrays["pose"])
    assert ((arrays["residues"] > 0).sum(axis=1) >= pockets.RESIDUES[0]).all()
    again = pockets.draw_examples(5, seed=3)
    np.testing.assert_array_equal(again["pose"], arrays["pose"][:5])
