"""Symmetry-corrected deviations: known groups of molecules, and spyrmsd."""

import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bitdiff.data import ligands
from bitdiff.metrics import pose_scores

BENZENE = (np.ones(6, int), np.array([[i, (i + 1) % 6] for i in range(6)]))
STAR = (np.array([2, 1, 1, 1, 1]), np.array([[0, i] for i in range(1, 5)]))
CHAIN = (np.array([1, 2, 3, 4]), np.array([[0, 1], [1, 2], [2, 3]]))
SYMMETRIC_CHAIN = (np.array([1, 2, 2, 1]), np.array([[0, 1], [1, 2], [2, 3]]))


@pytest.mark.parametrize(
    ("molecule", "count"), [(BENZENE, 12), (STAR, math.factorial(4)), (CHAIN, 1), (SYMMETRIC_CHAIN, 2)]
)
def test_the_number_of_symmetries_is_known(molecule, count):
    found = pose_scores.symmetries(*molecule)
    assert len(found) == len(np.unique(found, axis=0)) == count
    np.testing.assert_array_equal(found[0], np.arange(len(molecule[0])))


def test_the_order_of_the_atoms_does_not_matter():
    chain = np.array([[i, i + 1] for i in range(29)])
    order = np.concatenate([np.arange(0, 30, 2), np.arange(1, 30, 2)])  # no atom is listed beside its neighbors
    place = np.argsort(order)
    found = pose_scores.symmetries(np.ones(30, int), place[chain])
    np.testing.assert_array_equal(np.sort(found, axis=0), np.sort([np.arange(30), place[29 - order]], axis=0))


def test_equal_atoms_may_be_exchanged():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(6, 3))
    permutations = pose_scores.symmetries(*BENZENE)
    turned, other = truth[[1, 2, 3, 4, 5, 0]], truth[[1, 0, 2, 3, 4, 5]]
    shifted = truth + np.array([3.0, 4.0, 0.0])
    found = pose_scores.rmsd(np.stack([truth, turned, other, shifted]), truth, permutations)
    np.testing.assert_allclose(found[:2], 0, atol=1e-12)
    assert found[2] > 0.1  # neighbors on the ring would change
    assert found[3] <= 5 + 1e-12


def test_deviations_are_those_of_spyrmsd():
    spyrmsd = pytest.importorskip("spyrmsd.rmsd")
    rng = np.random.default_rng(1)
    for atoms, bonds in (BENZENE, STAR, CHAIN, SYMMETRIC_CHAIN):
        truth, pose = rng.normal(size=(2, len(atoms), 3))
        adjacency = np.zeros((len(atoms),) * 2, int)
        adjacency[bonds[:, 0], bonds[:, 1]] = adjacency[bonds[:, 1], bonds[:, 0]] = 1
        expected = spyrmsd.symmrmsd(truth, pose, atoms, atoms, adjacency, adjacency)
        found = pose_scores.rmsd(pose[None], truth, pose_scores.symmetries(atoms, bonds))
        assert found[0] == pytest.approx(expected)


@pytest.mark.parametrize("smiles", ["c1ccc2c(c1)CCCC2", "OC(c1ccccc1)C1CCCCC1", "OC(=O)c1ccccc1", "FC(F)(F)CN"])
def test_deviations_of_molecules_are_those_of_spyrmsd(smiles):
    spyrmsd = pytest.importorskip("spyrmsd.rmsd")
    pytest.importorskip("rdkit")
    ligand = ligands.from_smiles(smiles, seed=0)
    adjacency = np.zeros((len(ligand.elements),) * 2, int)
    adjacency[ligand.bonds[:, 0], ligand.bonds[:, 1]] = adjacency[ligand.bonds[:, 1], ligand.bonds[:, 0]] = 1
    permutations = pose_scores.symmetries(ligand.elements, ligand.bonds)
    rng = np.random.default_rng(0)
    for permutation in permutations[rng.integers(len(permutations), size=5)]:
        pose = ligand.x[permutation] + rng.normal(size=ligand.x.shape)
        numbers = (ligand.elements, ligand.elements)
        expected = spyrmsd.symmrmsd(ligand.x, pose, *numbers, adjacency, adjacency)
        assert pose_scores.rmsd(pose[None], ligand.x, permutations)[0] == pytest.approx(expected)


@pytest.mark.parametrize("degrees", [0.0, 20.0, 75.0, 180.0])
def test_torsion_errors_equal_the_angle_of_rotation(degrees):
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(4, 3))
    axis = (truth[2] - truth[1]) / np.linalg.norm(truth[2] - truth[1])
    pose = truth.copy()
    pose[3] = truth[2] + Rotation.from_rotvec(np.radians(degrees) * axis).apply(truth[3] - truth[2])
    moved = Rotation.random(random_state=3).apply(pose) + 5
    rotatable = np.array([[1, 2]])
    found = pose_scores.torsion_errors(moved, truth, np.arange(4)[None], CHAIN[1], rotatable)
    np.testing.assert_allclose(found, [degrees], atol=1e-4)
    assert pose_scores.torsion_errors(pose, truth, np.arange(4)[None], CHAIN[1], rotatable[:0]).shape == (0,)


def test_torsion_errors_ignore_swapped_equivalent_atoms():
    rng = np.random.default_rng(4)
    truth = rng.normal(size=(4, 3))
    reversed_chain = truth[::-1]
    permutations = pose_scores.symmetries(*SYMMETRIC_CHAIN)
    found = pose_scores.torsion_errors(reversed_chain, truth, permutations, SYMMETRIC_CHAIN[1], np.array([[1, 2]]))
    np.testing.assert_allclose(found, [0], atol=1e-6)


@pytest.mark.parametrize(
    ("smiles", "turn", "expected"),
    [("CC(C)Cc1ccccc1", 120.0, 120.0), ("CCc1ccccc1", 180.0, 0.0), ("CCc1ccccc1", 120.0, 60.0)],
)
def test_a_rotated_group_is_correct_only_if_its_atoms_are_at_the_right_angle(smiles, turn, expected):
    """Isopropyl has equivalent methyl groups, but a third of a turn puts one of them where a hydrogen atom was."""
    pytest.importorskip("rdkit")
    ligand = ligands.from_smiles(smiles, seed=0)
    permutations = pose_scores.symmetries(ligand.elements, ligand.bonds)
    (i, j), moved = ligand.rotatable[0], ligand.moved[0]
    axis = (ligand.x[j] - ligand.x[i]) / np.linalg.norm(ligand.x[j] - ligand.x[i])
    pose = ligand.x.copy()
    pose[moved] = ligand.x[j] + Rotation.from_rotvec(np.radians(turn) * axis).apply(ligand.x[moved] - ligand.x[j])
    found = pose_scores.torsion_errors(pose, ligand.x, permutations, ligand.bonds, ligand.rotatable)
    np.testing.assert_allclose(found, [expected, *np.zeros(len(found) - 1)], atol=2)  # rings are not exactly planar


def test_errors_of_random_torsions_are_uniform_up_to_symmetry():
    rng, permutations = np.random.default_rng(6), np.arange(4)[None]
    truth = rng.normal(size=(4, 3))
    chain = (CHAIN[1], np.array([[1, 2]]))
    errors = np.array([pose_scores.random_torsion_errors(rng, truth, permutations, *chain)[0] for _ in range(2_000)])
    assert np.mean(errors < 30) == pytest.approx(30 / 180, abs=0.025)  # three standard errors
    assert np.mean(errors < 120) == pytest.approx(120 / 180, abs=0.035)
    pytest.importorskip("rdkit")
    phenyl = ligands.from_smiles("CCc1ccccc1", seed=0)  # half a turn of the ring has no effect
    molecule = phenyl.x, pose_scores.symmetries(phenyl.elements, phenyl.bonds), phenyl.bonds, phenyl.rotatable
    errors = np.concatenate([pose_scores.random_torsion_errors(rng, *molecule) for _ in range(2_000)])
    assert errors.max() < 95
    assert np.mean(errors < 30) == pytest.approx(30 / 90, abs=0.035)


def test_torsion_angles_are_those_of_rdkit():
    chem = pytest.importorskip("rdkit.Chem")
    from rdkit.Chem import rdMolTransforms

    x = np.random.default_rng(5).normal(size=(4, 3))
    conformer = chem.Conformer(4)
    for i, place in enumerate(x.tolist()):
        conformer.SetAtomPosition(i, place)
    found = pose_scores._dihedrals(x, np.array([[0, 1, 2, 3]]))
    assert found[0] == pytest.approx(rdMolTransforms.GetDihedralRad(conformer, 0, 1, 2, 3), abs=1e-6)
