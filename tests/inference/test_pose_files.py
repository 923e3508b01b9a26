"""Sampled poses as SDF and PDB files, read again with RDKit."""

import numpy as np
import pytest

from bitdiff.data import ligands
from bitdiff.data.complexes import Receptor, Sizes, padded
from bitdiff.inference import pose_files

Chem = pytest.importorskip("rdkit.Chem")

RECEPTOR = Receptor(
    np.array([1, ligands.RESIDUE_TYPES, 8]), np.array([[1.0, 2.0, 3.0], [-1234.5, 0.0, 0.0], [4, 5, 6]])
)


def outputs_of(*smiles):
    """Samples: one pose of each molecule."""
    molecules = [ligands.from_smiles(one, seed=0) for one in smiles]
    rows = [padded(molecule, RECEPTOR, Sizes(20, 40, 8, 4)) for molecule in molecules]
    outputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
    return outputs | {"source": np.arange(len(rows)) + 5}


def models(path):
    return [part.split("\n", 1)[1] for part in path.read_text().split("MODEL ")[1:]]


def test_records_of_an_sdf_file_are_the_samples(tmp_path):
    smiles = ("CCOc1ccccc1", "C[Se]CCl")
    outputs = outputs_of(*smiles) | {"confidence": np.array([0.25, 0.5])}
    path = pose_files.write_sdf(tmp_path / "poses.npz", outputs)
    assert path == tmp_path / "poses.sdf"
    found = list(Chem.SDMolSupplier(str(path)))
    assert [Chem.MolToSmiles(one) for one in found] == [Chem.CanonSmiles(one) for one in smiles]
    assert [one.GetProp("_Name") for one in found] == [
        "sample 0 in complex 5, confidence 0.250",
        "sample 1 in complex 6, confidence 0.500",
    ]


def test_models_of_a_pdb_file_hold_receptor_and_ligand(tmp_path):
    outputs = outputs_of("CCCCCCCCCCCl")
    path = pose_files.write_pdb(tmp_path / "poses.npz", outputs, elements=True, residues=True)
    whole = Chem.MolFromPDBBlock(models(path)[0], sanitize=False, proximityBonding=False)
    names = [atom.GetPDBResidueInfo().GetName() for atom in whole.GetAtoms()]
    assert names == [" CA "] * 3 + [f" C{i}".ljust(4) for i in range(1, 11)] + ["CL11"]
    residues = [atom.GetPDBResidueInfo().GetResidueName() for atom in whole.GetAtoms()]
    assert residues == ["ALA", "UNK", "GLY"] + ["LIG"] * 11
    assert [atom.GetSymbol() for atom in whole.GetAtoms()][3:] == ["C"] * 10 + ["Cl"]
    np.testing.assert_allclose(whole.GetConformer().GetPositions()[1], [-1234.5, 0, 0], atol=0.01)
    np.testing.assert_allclose(whole.GetConformer().GetPositions()[3:], outputs["pose"][0, :11], atol=1e-3)
    assert [(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in whole.GetBonds()] == [(i, i + 1) for i in range(3, 13)]


def test_synthetic_types_are_written_as_carbon_and_unknown_residues(tmp_path):
    outputs = outputs_of("CCO")
    path = pose_files.write_pdb(tmp_path / "poses.npz", outputs, elements=False, residues=False)
    whole = Chem.MolFromPDBBlock(models(path)[0], sanitize=False, proximityBonding=False)
    assert {atom.GetSymbol() for atom in whole.GetAtoms()} == {"C"}
    assert [atom.GetPDBResidueInfo().GetResidueName() for atom in whole.GetAtoms()][:3] == ["UNK"] * 3
