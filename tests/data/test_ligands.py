"""Tests of ligands and receptors from RDKit molecules and from files."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bitdiff.data import ligands
from bitdiff.data.complexes import Receptor, Sizes, padded
from bitdiff.runtime.errors import UsageError

Chem = pytest.importorskip("rdkit.Chem")

# Two residues, one with alternate locations, a calcium ion named like a C-alpha atom, and an unusual residue.
PDB = """\
ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00  0.00           N
ATOM      2  CA  ALA A   1      11.639   6.071  -5.147  1.00  0.00           C
ATOM      3  C   ALA A   1      10.500   5.900  -4.100  1.00  0.00           C
ATOM      4  CA AGLY A   2       9.000   4.000  -3.000  0.60  0.00           C
ATOM      5  CA BGLY A   2       9.500   4.500  -3.500  0.40  0.00           C
ATOM      6  CA  XYZ B   1       1.000   2.000   3.000  1.00  0.00           C
HETATM    7 CA    CA A 101       0.000   0.000   0.000  1.00  0.00          CA
END
"""


def write_sdf(path, smiles):
    """Writes a molecule with a conformer and hydrogen atoms; returns it."""
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=3)
    with Chem.SDWriter(str(path)) as writer:
        writer.write(molecule)
    return molecule


def test_butane_has_one_rotatable_bond():
    ligand = ligands.from_smiles("CCCC", seed=0)
    assert ligand.atoms.tolist() == [1, 1, 1, 1]
    np.testing.assert_array_equal(ligand.rotatable, [[1, 2]])
    np.testing.assert_array_equal(ligand.moved, [[False, False, True, True]])
    lengths = np.linalg.norm(ligand.x[ligand.bonds[:, 0]] - ligand.x[ligand.bonds[:, 1]], axis=-1)
    np.testing.assert_allclose(lengths, 1.53, atol=0.06)  # a carbon-carbon single bond, not relaxed


@pytest.mark.parametrize(
    ("smiles", "count"),
    [
        ("c1ccccc1", 0),  # a ring
        ("c1ccccc1-c1ccccc1", 1),
        ("CC(=O)Nc1ccccc1", 2),
        ("C/C=C/C", 0),  # a double bond
        ("CC", 0),  # both atoms have no other neighbors
        ("OCC(O)CO", 2),
        ("c1ccccc1CCN", 2),
        ("N#Cc1ccccc1", 0),  # a linear group
        ("CC#CCC", 0),
    ],
)
def test_rotatable_bonds(smiles, count):
    ligand = ligands.from_smiles(smiles, seed=1)
    assert len(ligand.rotatable) == count
    for (i, j), side in zip(ligand.rotatable, ligand.moved, strict=True):
        assert side[j]
        assert not side[i]
        assert 1 < side.sum() <= len(side) / 2
        crossing = side[ligand.bonds[:, 0]] != side[ligand.bonds[:, 1]]
        assert ligand.bonds[crossing].tolist() in ([[i, j]], [[j, i]])  # no other bond joins the sides


def test_types_distinguish_elements_and_aromatic_atoms():
    ligand = ligands.from_smiles("c1ccccc1Cl", seed=0)
    assert ligand.atoms.tolist() == [2] * 6 + [11]
    assert ligands.from_smiles("C[Se]C", seed=0).atoms.tolist() == [1, ligands.ATOM_TYPES, 1]


def test_a_molecule_is_read_from_sdf(tmp_path):
    molecule = write_sdf(tmp_path / "a.sdf", "CCOc1ccccc1")
    ligand, direct = ligands.read_ligand(tmp_path / "a.sdf"), ligands.from_molecule(molecule)
    for one, other in zip(ligand, direct, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)  # SDF has four decimals


@pytest.mark.parametrize("smiles", ["CCOc1ccccc1CCN", "OCC(O)CCCCN", "c1ccccc1"])
def test_a_conformer_is_matched_to_the_one_in_the_file(tmp_path, smiles, monkeypatch):
    write_sdf(tmp_path / "a.sdf", smiles)
    ligand = ligands.read_ligand(tmp_path / "a.sdf")
    first, second = (ligands.matched_conformer(tmp_path / "a.sdf", seeds) for seeds in ((1,), (5,)))
    lengths = [np.linalg.norm(x[ligand.bonds[:, 0]] - x[ligand.bonds[:, 1]], axis=1) for x in (ligand.x, first)]
    np.testing.assert_allclose(lengths[0], lengths[1], atol=0.15)
    assert np.abs(lengths[0] - lengths[1]).max() > 1e-3  # not the conformer of the file
    deviation = np.sqrt(np.mean(np.sum((first - ligand.x) ** 2, axis=1)))
    assert 1e-3 < deviation < 1.0  # rings and bond angles differ
    assert np.abs(first - second).max() > 1e-3
    best = ligands.matched_conformer(tmp_path / "a.sdf", (1, 5))
    distances = [np.sum((x - ligand.x) ** 2) for x in (first, second, best)]
    assert distances[2] == pytest.approx(min(distances[:2]))
    monkeypatch.setattr(ligands, "_optimize_torsions", lambda x, ligand: x)
    copied = ligands.matched_conformer(tmp_path / "a.sdf", (1,))  # with the torsion angles of the file
    assert distances[0] <= np.sum((copied - ligand.x) ** 2) + 1e-6


@pytest.mark.parametrize("smiles", ["CCOc1ccccc1CCN", "OCC(O)CCCCN"])
def test_torsion_optimization_recovers_perturbed_angles(smiles):
    ligand = ligands.from_smiles(smiles, seed=2)
    angles = np.random.default_rng(0).uniform(-0.6, 0.6, len(ligand.rotatable))
    x = ligand.x.copy()
    for (i, j), moved, angle in zip(ligand.rotatable, ligand.moved, angles, strict=True):
        axis = (x[j] - x[i]) / np.linalg.norm(x[j] - x[i])
        x[moved] = Rotation.from_rotvec(angle * axis).apply(x[moved] - x[j]) + x[j]
    x = Rotation.from_rotvec([0.3, 1.0, -2.0]).apply(x) + np.array([1.0, 2.0, 3.0])
    found = ligands._optimize_torsions(x, ligand)
    assert np.sqrt(np.mean(np.sum((found - ligand.x) ** 2, axis=1))) < 0.05


@pytest.mark.parametrize(
    "smiles",
    [
        *("CC(=O)Nc1ccccc1", "CN(C)CCc1c[nH]cn1", "CCOc1ccc(C#N)cc1", "C[Se]CF", "c1cc[nH]c1"),
        *("O=[N+]([O-])c1ccccc1", "CN=[N+]=[N-]", "C[S+](C)C", "C[P+](C)(C)C", "C[B-](O)(O)O", "c1cc[o+]cc1"),
    ],
)
def test_a_molecule_is_written_as_sdf(tmp_path, smiles):
    ligand = ligands.from_smiles(smiles, seed=0)
    sizes = Sizes(20, 40, 8, 1)
    nothing = Receptor(np.zeros(0, int), np.zeros((0, 3)))
    row = padded(ligand, nothing, sizes)
    parts = (row[name] for name in ("elements", "charges", "bonds", "orders", "pose"))
    molecule = ligands.to_molecule(*parts)
    text = ligands.mol_block(molecule, "a title")
    assert text.startswith("a title\n")
    assert text.endswith("$$$$\n")
    again = Chem.MolFromMolBlock(text.removesuffix("$$$$\n"))  # sanitized, so valences and aromatic rings are valid
    assert again is not None
    assert Chem.MolToSmiles(again) == Chem.CanonSmiles(smiles)
    np.testing.assert_allclose(again.GetConformer().GetPositions(), ligand.x, atol=1e-4)
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in again.GetBonds()]
    assert bonds == [tuple(bond) for bond in ligand.bonds.tolist()]


def test_residues_are_read_from_pdb(tmp_path):
    (tmp_path / "p.pdb").write_text(PDB)
    receptor = ligands.read_receptor(tmp_path / "p.pdb")
    assert receptor.residues.tolist() == [1, 8, ligands.RESIDUE_TYPES]
    np.testing.assert_allclose(receptor.positions, [[11.639, 6.071, -5.147], [9, 4, -3], [1, 2, 3]], atol=1e-4)


def alpha(residue="ALA", *, name=" CA ", alternate=" ", number="   1", insertion=" ", x="1.000", occupancy="1.00"):
    position = f"{x:>8s}{'2.000':>8s}{'3.000':>8s}"
    return (
        f"ATOM  A0000 {name}{alternate}{residue:3s} A{number}{insertion}   {position}{occupancy:>6s}  0.00           C"
    )


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([alpha(alternate="B", x="5.000", occupancy="0.60"), alpha(alternate="A", occupancy="0.40")], [5.0]),
        ([alpha(alternate="A", occupancy="0.50"), alpha(alternate="B", x="5.000", occupancy="0.50")], [1.0]),
        ([alpha(alternate="B", occupancy="0.70"), alpha(alternate="C", x="5.000", occupancy="0.30")], [1.0]),
        ([alpha(), alpha(insertion="A", x="5.000")], [1.0, 5.0]),
        (["MODEL        1", alpha(), "ENDMDL", "MODEL        2", alpha(number="   2"), "ENDMDL"], [1.0]),
        ([alpha(name="CA  ", occupancy="")], [1.0]),
    ],
)
def test_one_alternate_location_per_residue_of_the_first_model_is_read(tmp_path, lines, expected):
    (tmp_path / "p.pdb").write_text("\n".join([*lines, "END", ""]))
    receptor = ligands.read_receptor(tmp_path / "p.pdb")
    assert receptor.positions[:, 0].tolist() == expected


@pytest.mark.parametrize(("name", "standard"), [("HIE", "HIS"), ("CYX", "CYS"), ("MSE", "MET"), ("TRP", "TRP")])
def test_protonation_states_have_the_type_of_their_amino_acid(tmp_path, name, standard):
    (tmp_path / "p.pdb").write_text(alpha(name) + "\n")
    assert [ligands.residue_of(kind) for kind in ligands.read_receptor(tmp_path / "p.pdb").residues] == [standard]


@pytest.mark.parametrize("smiles", ["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", "C/C=C\\CO", "CC(=O)N1CCC[C@H]1C(=O)O"])
def test_a_matched_conformer_keeps_the_stereochemistry(tmp_path, smiles):
    write_sdf(tmp_path / "a.sdf", smiles)
    ligand = ligands.read_ligand(tmp_path / "a.sdf")
    x = ligands.matched_conformer(tmp_path / "a.sdf", (1,))
    again = ligands.to_molecule(ligand.elements, ligand.charges, ligand.bonds, ligand.orders, x)
    Chem.SanitizeMol(again)
    Chem.AssignStereochemistryFrom3D(again)
    assert Chem.MolToSmiles(again) == Chem.CanonSmiles(smiles)


def test_modified_residues_are_distinguished_from_other_groups(tmp_path):
    lines = [
        f"{record:6s}{i:5d}  {name:3s} {group} A{number:4d}       1.000   2.000   3.000  1.00  0.00           C"
        for i, (record, name, group, number) in enumerate(
            [
                *(("ATOM", "CA", "ALA", 1), ("HETATM", "N", "SEP", 2), ("HETATM", "CA", "SEP", 2)),
                *(("HETATM", "C", "SEP", 2), ("HETATM", "CA", "MSE", 3), ("HETATM", "N", "HEM", 4)),
                ("HETATM", "CA", "HEM", 4),
            ]
        )
    ]
    (tmp_path / "p.pdb").write_text("\n".join([*lines, "END", ""]))
    receptor = ligands.read_receptor(tmp_path / "p.pdb")
    assert [ligands.residue_of(kind) for kind in receptor.residues] == ["ALA", "UNK", "MET"]


def test_all_hydrogen_atoms_are_left_out():
    # RDKit's RemoveHs keeps the one that defines the stereochemistry of the double bond.
    from rdkit.Chem import AllChem

    molecule = Chem.AddHs(Chem.MolFromSmiles("[H]/N=C(/N)c1ccccc1"))
    AllChem.EmbedMolecule(molecule, randomSeed=0)
    assert 1 in [atom.GetAtomicNum() for atom in Chem.RemoveHs(molecule).GetAtoms()]
    assert ligands.from_molecule(molecule).elements.tolist() == [7, 6, 7, *6 * [6]]


def test_a_rotation_does_not_move_other_fragments():
    bonds = np.array([(0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7), (7, 8), (8, 9)])
    rotatable, moved = ligands.torsion_tree(10, bonds, np.array([False, True, *6 * [False]]))
    assert rotatable.tolist() == [[1, 2]]
    assert np.flatnonzero(moved[0]).tolist() == [2, 3]


def test_files_that_cannot_be_read_are_errors(tmp_path):
    with pytest.raises(UsageError, match=r"none\.sdf cannot be read"):
        ligands.read_ligand(tmp_path / "none.sdf")
    with pytest.raises(UsageError, match=r"none\.pdb cannot be read"):
        ligands.read_receptor(tmp_path / "none.pdb")
    (tmp_path / "bad.sdf").write_text("not a molecule\n")
    with pytest.raises(UsageError, match="holds no molecule"):
        ligands.read_ligand(tmp_path / "bad.sdf")
    (tmp_path / "none.sdf").write_text(
        "\n     RDKit          3D\n\n  0  0  0  0  0  0  0  0  0  0999 V2000\nM  END\n$$$$\n"
    )
    with pytest.raises(UsageError, match=r"none\.sdf holds no"):
        ligands.read_ligand(tmp_path / "none.sdf")
    with pytest.raises(UsageError, match="an atom of no element"):
        ligands.from_molecule(Chem.MolFromSmiles("*CC"))
    (tmp_path / "bad.pdb").write_text(alpha(x="nan") + "\n")
    with pytest.raises(UsageError, match=r"bad\.pdb, line 1: the position or occupancy is not a number"):
        ligands.read_receptor(tmp_path / "bad.pdb")
    (tmp_path / "empty.pdb").write_text("END\n")
    with pytest.raises(UsageError, match="no residue with a C-alpha"):
        ligands.read_receptor(tmp_path / "empty.pdb")
    with pytest.raises(UsageError, match="cannot read the molecule 'C1'"):
        ligands.from_smiles("C1", seed=0)
