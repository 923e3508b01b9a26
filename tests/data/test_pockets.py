"""Generated complexes: geometry of ligands and pockets, known probabilities, and padding."""

import sys

import numpy as np
import pytest

from bitdiff.data import pockets
from bitdiff.runtime.errors import UsageError


@pytest.fixture(scope="module")
def complexes():
    rng = np.random.default_rng(0)
    return [pockets.draw_complex(rng, pockets.TREES) for _ in range(40)]


def distances(a, b):
    return np.linalg.norm(a[:, None] - b[None], axis=-1)


def test_ligands_are_trees_of_separate_atoms(complexes):
    for one in complexes:
        x = one.poses[0]
        assert pockets.ATOMS[0] <= len(x) <= pockets.ATOMS[1]
        assert len(one.ligand.bonds) == len(x) - 1
        between = distances(x, x)
        np.testing.assert_allclose([between[i, j] for i, j in one.ligand.bonds], 1.5, rtol=1e-6)
        assert np.sort(between, axis=1)[:, 1].min() > 1.39
        joined = {0}
        for i, j in one.ligand.bonds:
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
        assert pockets.RESIDUES[0] <= len(one.receptor.residues) <= pockets.RESIDUES[1]
        assert distances(one.receptor.positions, one.poses.reshape(-1, 3)).min() > 3.79
        between = distances(one.receptor.positions, one.receptor.positions)
        assert between[~np.eye(len(between), dtype=bool)].min() > 3.79
        for pose, marker in zip(one.poses, pockets.TREES.kinds.markers, strict=True):
            (place,) = one.receptor.positions[one.receptor.residues == marker]
            assert np.linalg.norm(place - pose.mean(axis=0)) == pytest.approx(7.2)
        lining = np.flatnonzero(one.receptor.residues <= pockets.TREES.kinds.atoms)
        near = distances(one.receptor.positions[lining], one.poses.reshape(-1, 3))
        types = np.tile(one.ligand.atoms, 2)
        matching = np.where(types[None] == one.receptor.residues[lining][:, None], np.abs(near - 4.5), np.inf)
        assert matching.min(axis=1).max() < 1e-6  # each is next to an atom of its type
        assert len(lining) >= 8


def test_lining_residues_are_outward_from_their_atoms(complexes):
    cosines = []
    for one in complexes:
        for pose in one.poses:
            offset = one.receptor.positions[:, None] - pose  # [residues, atoms, 3]
            matching = one.receptor.residues[:, None] == one.ligand.atoms
            matching &= np.abs(np.linalg.norm(offset, axis=-1) - 4.5) < 1e-6
            outward = pose - pose.mean(axis=0)
            outward /= np.linalg.norm(outward, axis=-1, keepdims=True)
            cosines += ((offset * outward).sum(axis=-1) / 4.5)[matching].tolist()
    # The noise has a standard deviation of 1/4 along two axes: a mean of about 1 - 1/16 if all places are free.
    assert 0.85 < np.mean(cosines) < 0.96


def test_poses_are_drawn_with_the_known_probabilities_and_padded():
    arrays = pockets.draw_examples(300, seed=3, source=pockets.TREES)
    # Standard error: sqrt(0.7 x 0.3 / 300) = 0.026
    assert (arrays["pocket"] == 0).mean() == pytest.approx(pockets.STRONG, abs=0.08)
    exist = arrays["atoms"] > 0
    assert (arrays["pose"][~exist] == 0).all()
    assert exist[:, : pockets.ATOMS[0]].all()
    assert not exist.all()
    row = np.arange(300)
    np.testing.assert_array_equal(arrays["poses"][row, arrays["pocket"]], arrays["pose"])
    assert ((arrays["residues"] > 0).sum(axis=1) >= pockets.RESIDUES[0]).all()
    again = pockets.draw_examples(5, seed=3, source=pockets.TREES)
    np.testing.assert_array_equal(again["pose"], arrays["pose"][:5])


def test_molecules_differ_between_pockets_in_torsion_angles_alone():
    pytest.importorskip("rdkit")
    rng = np.random.default_rng(0)
    differ = 0
    for _ in range(30):
        one = pockets.draw_complex(rng, pockets.MOLECULES)
        count = len(one.ligand.atoms)
        assert pockets.ATOMS[0] <= count <= pockets.ATOMS[1]
        first, second = (distances(pose, pose) for pose in one.poses)
        i, j = one.ligand.bonds.T
        np.testing.assert_allclose(first[i, j], second[i, j], atol=1e-9)
        angles = np.linalg.matrix_power(np.eye(count, dtype=int) + (first < 1.9), 2) > 0  # up to two bonds apart
        np.testing.assert_allclose(first[angles], second[angles], atol=1e-9)
        differ += np.abs(first - second).max() > 0.5
        assert (one.receptor.residues <= pockets.MOLECULES.kinds.residues).all()
    assert differ > 20


def test_the_data_set_states_its_sizes():
    pytest.importorskip("rdkit")
    arrays = pockets.draw_examples(40, seed=0, source=pockets.MOLECULES)
    rotatable = (arrays["rotatable"][..., 0] != arrays["rotatable"][..., 1]).sum(axis=1)
    assert rotatable.min() >= 1
    assert (arrays["moved"].any(-1).sum(axis=1) == rotatable).all()
    assert arrays["atoms"].max() <= pockets.MOLECULES.kinds.atoms


def test_rigid_ligands_do_not_require_rdkit(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    pockets._molecules.cache_clear()
    assert len(pockets.draw_examples(1, seed=0, source=pockets.TREES)["pose"]) == 1
    with pytest.raises(UsageError, match=r"molecules require RDKit: pip install -e '.\[docking\]'"):
        pockets.draw_examples(1, seed=0, source=pockets.MOLECULES)
