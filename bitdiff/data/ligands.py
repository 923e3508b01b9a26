"""Ligands and receptors from molecules and files, with RDKit: pip install -e '.[docking]'.

Hydrogen atoms are left out. A receptor is one point per residue, at its C-alpha atom. Only ligands require RDKit.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.spatial.transform import Rotation

from bitdiff.data.complexes import Ligand, Receptor
from bitdiff.runtime.errors import UsageError

_ELEMENTS = ("C", "N", "O", "S", "F", "Cl", "Br", "I", "P", "B", "Si")
ATOM_TYPES = 2 * len(_ELEMENTS) + 1  # two per element (aromatic or not), and one for all others
_ORDERS = {"SINGLE": 1, "DOUBLE": 2, "TRIPLE": 3}
_RESIDUES = (
    *("ALA", "ARG", "ASN", "ASP", "CYS", "GLN", "GLU", "GLY", "HIS", "ILE"),
    *("LEU", "LYS", "MET", "PHE", "PRO", "SER", "THR", "TRP", "TYR", "VAL"),
)
RESIDUE_TYPES = len(_RESIDUES) + 1
# The optimization of torsion angles stops at this gradient (square angstroms per radian), or after so many iterations.
_GRADIENT, _MOST_ITERATIONS = 1e-3, 50
_ALIASES = {  # protonation states as named by AMBER and CHARMM, and selenomethionine
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "HIS"),
    **dict.fromkeys(("CYM", "CYX"), "CYS"),
    **{"ARN": "ARG", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "MSE": "MET"},
}


def from_smiles(smiles: str, seed: int) -> Ligand:
    """A molecule with a conformer that RDKit builds (ETKDG).

    Raises:
      UsageError: RDKit is missing, or cannot read or embed the molecule.
    """
    chem = _rdkit()
    molecule = chem.MolFromSmiles(smiles)
    if molecule is None:
        raise UsageError(f"RDKit cannot read the molecule {smiles!r}")
    molecule = chem.AddHs(molecule)
    if not _embed(molecule, seed):
        raise UsageError(f"RDKit cannot build a conformer of {smiles!r}")
    return from_molecule(molecule)


def from_molecule(molecule: Any) -> Ligand:
    """The heavy atoms of an RDKit molecule with a conformer.

    Bonds to atoms of linear groups do not count as rotatable, because their torsion angles are undefined; so the two
    ends of an internal alkyne cannot rotate relative to each other.

    Raises:
      UsageError: there are no heavy atoms, or one is a dummy atom.
    """
    chem = _rdkit()
    molecule = chem.RemoveAllHs(molecule)
    elements, charges = (
        np.array([getattr(atom, name)() for atom in molecule.GetAtoms()], int)
        for name in ("GetAtomicNum", "GetFormalCharge")
    )
    if not elements.all() or not len(elements):
        raise UsageError("the molecule has no heavy atoms, or an atom of no element")
    atoms = np.array([_atom_type(atom.GetSymbol(), atom.GetIsAromatic()) for atom in molecule.GetAtoms()])
    bonds = np.array([(b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds()], int).reshape(-1, 2)
    linear = {atom.GetIdx() for atom in molecule.GetAtoms() if atom.GetHybridization() == chem.HybridizationType.SP}
    single = [
        str(b.GetBondType()) == "SINGLE" and not b.IsInRing() and not linear & {b.GetBeginAtomIdx(), b.GetEndAtomIdx()}
        for b in molecule.GetBonds()
    ]
    kekulized = chem.Mol(molecule)
    chem.Kekulize(kekulized, clearAromaticFlags=True)
    orders = np.array([_ORDERS.get(str(b.GetBondType()), 1) for b in kekulized.GetBonds()], int)
    x = np.array(molecule.GetConformer().GetPositions())
    return Ligand(atoms, elements, charges, bonds, orders, x, *torsion_tree(len(atoms), bonds, np.array(single, bool)))


def to_molecule(elements: np.ndarray, charges: np.ndarray, bonds: np.ndarray, orders: np.ndarray, x: np.ndarray) -> Any:
    """An RDKit molecule without hydrogen atoms, not sanitized, from arrays as in `Ligand` that may be padded."""
    chem = _rdkit()
    molecule = chem.RWMol()
    exist = elements > 0
    for element, charge in zip(elements[exist].tolist(), charges[exist].tolist(), strict=True):
        atom = chem.Atom(element)
        atom.SetFormalCharge(charge)
        molecule.AddAtom(atom)
    names = {order: getattr(chem.BondType, name) for name, order in _ORDERS.items()}
    for (i, j), order in zip(bonds.tolist(), orders.tolist(), strict=True):
        if i != j:
            molecule.AddBond(i, j, names[order])
    conformer = chem.Conformer(molecule.GetNumAtoms())
    for i, place in enumerate(x[exist].astype(float).tolist()):
        conformer.SetAtomPosition(i, place)
    molecule.AddConformer(conformer)
    return molecule.GetMol()


def symbol_of(element: int) -> str:
    """The symbol of an element with the given atomic number."""
    return _rdkit().GetPeriodicTable().GetElementSymbol(element)


def residue_of(kind: int) -> str:
    """The three-letter code of a residue type; 'UNK' for the type of all others."""
    return _RESIDUES[kind - 1] if kind < RESIDUE_TYPES else "UNK"


def mol_block(molecule: Any, title: str) -> str:
    """A molecule as a record of an SDF file."""
    molecule.SetProp("_Name", title)
    return _rdkit().MolToMolBlock(molecule, kekulize=False) + "$$$$\n"


def torsion_tree(count: int, bonds: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotatable bonds of a molecule, and the atoms that each moves: int [T, 2] and bool [T, A].

    A candidate is rotatable if both its atoms have other neighbors. The smaller side of the bond moves.

    Args:
      count: number of atoms A.
      bonds: int [B, 2], pairs of bonded atoms.
      candidates: bool [B], the bonds that may be rotatable: single, in no ring, and not next to a linear group.
    """
    neighbors: list[set[int]] = [set() for _ in range(count)]
    for i, j in bonds.tolist():
        neighbors[i].add(j)
        neighbors[j].add(i)
    rotatable, moved = [], []
    for i, j in bonds[candidates].tolist():
        if min(len(neighbors[i]), len(neighbors[j])) < 2:
            continue
        side, other = _reachable(neighbors, j, i), _reachable(neighbors, i, j)
        if side.sum() > other.sum():
            i, j, side = j, i, other
        rotatable.append((i, j))
        moved.append(side)
    return np.array(rotatable, np.int32).reshape(-1, 2), np.array(moved, bool).reshape(-1, count)


def read_ligand(path: Path) -> Ligand:
    """The first molecule of an SDF or MOL2 file.

    Raises:
      UsageError: RDKit is missing, or cannot read the file.
    """
    molecule = _read_molecule(path)
    try:
        return from_molecule(molecule)
    except (UsageError, ValueError, RuntimeError) as error:
        raise UsageError(f"{path} holds no usable molecule: {error}") from error


def matched_conformer(path: Path, seeds: Sequence[int]) -> np.ndarray:
    """A conformer that RDKit builds (ETKDG) for the molecule of `read_ligand`, aligned to the file's conformer.

    Its torsion angles are optimized locally for the lowest RMSD, as in conformer matching (Jing et al. 2022); bond
    lengths, bond angles and rings are RDKit's, and stereocenters without a label may be inverted. One conformer is
    built per seed. The file's torsion angles are copied to each conformer, and the conformer with the lowest RMSD is
    then refined with BFGS (Jing et al. search globally, by differential evolution).

    Returns:
      float [A, 3], in the order of `read_ligand`'s atoms.

    Raises:
      UsageError: RDKit is missing, or cannot read the file or build a conformer.
    """
    chem = _rdkit()
    from rdkit.Chem import rdMolAlign

    known = chem.RemoveAllHs(_read_molecule(path))
    found: list[tuple[float, np.ndarray]] = []
    for seed in seeds:
        built = chem.AddHs(chem.Mol(known), addCoords=False)
        built.RemoveAllConformers()
        if not _embed(built, seed):
            continue
        built = chem.RemoveAllHs(built)
        _copy_torsions(known, built)
        distance = rdMolAlign.AlignMol(built, known, atomMap=[(i, i) for i in range(known.GetNumAtoms())])
        if np.isfinite(distance):
            found.append((distance, np.array(built.GetConformer().GetPositions())))
    if not found:
        raise UsageError(f"RDKit cannot build a conformer of {path}")
    return _optimize_torsions(min(found, key=lambda one: one[0])[1], from_molecule(known))


def _optimize_torsions(x: np.ndarray, ligand: Ligand) -> np.ndarray:
    """Positions float [A, 3] whose torsion angles and rigid motion minimize the RMSD from `ligand.x`.

    This is a local minimum, from the start `x` [A, 3]. A rigid ligand is returned as it is, so it must be aligned.
    """
    aim, target = ligand.x.mean(axis=0), ligand.x - ligand.x.mean(axis=0)

    def place(angles: np.ndarray) -> np.ndarray:
        turned = x.copy()
        for (i, j), moved, angle in zip(ligand.rotatable, ligand.moved, angles, strict=True):
            axis = (turned[j] - turned[i]) / np.linalg.norm(turned[j] - turned[i])
            turned[moved] = Rotation.from_rotvec(angle * axis).apply(turned[moved] - turned[j]) + turned[j]
        turned -= turned.mean(axis=0)
        u, _, v = np.linalg.svd(turned.T @ target)  # Kabsch 1976
        return turned @ (u * [1.0, 1.0, np.sign(np.linalg.det(u @ v))]) @ v + aim

    if not len(ligand.rotatable):
        return x
    start, options = np.zeros(len(ligand.rotatable)), {"gtol": _GRADIENT, "maxiter": _MOST_ITERATIONS}
    found = minimize(lambda angles: np.mean((place(angles) - ligand.x) ** 2), start, method="BFGS", options=options)
    return place(found.x)


def _copy_torsions(known: Any, built: Any) -> None:
    """Sets one torsion angle per rotatable bond of `built` to that of `known`."""
    from rdkit.Chem import rdMolTransforms

    for i, j in from_molecule(known).rotatable.tolist():
        # one neighbor on each side, to define the torsion angle
        a, b = (
            next(n.GetIdx() for n in known.GetAtomWithIdx(one).GetNeighbors() if n.GetIdx() != other)
            for one, other in ((i, j), (j, i))
        )
        angle = rdMolTransforms.GetDihedralRad(known.GetConformer(), a, i, j, b)
        rdMolTransforms.SetDihedralRad(built.GetConformer(), a, i, j, b, angle)


def _embed(molecule: Any, seed: int) -> bool:
    """Adds a conformer (ETKDG) if possible; if embedding fails, tries again from random initial coordinates."""
    from rdkit.Chem import AllChem

    embed = AllChem.EmbedMolecule  # pyrefly: ignore[missing-attribute]
    return any(embed(molecule, randomSeed=seed, useRandomCoords=start) == 0 for start in (False, True))


def _read_molecule(path: Path) -> Any:
    chem = _rdkit()
    try:
        if path.suffix == ".mol2":
            molecule = chem.MolFromMol2File(str(path))
        else:
            molecule = next(iter(chem.SDMolSupplier(str(path))), None)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    if molecule is None or not molecule.GetNumConformers():
        raise UsageError(f"{path} holds no molecule with positions that RDKit can read")
    return molecule


def read_receptor(path: Path) -> Receptor:
    """The residues of a PDB file's first model that have a C-alpha atom.

    Of alternate locations, the one with the highest occupancy is used. A HETATM group of unknown type counts as a
    residue only if it also has backbone atoms N and C, which excludes cofactors. Only C-alpha positions are parsed.

    Raises:
      UsageError: the file cannot be read, a position is not a number, or there is no such residue.
    """
    found: dict[str, tuple[float, int, list[float]]] = {}
    backbone, unconfirmed = set[tuple[str, str]](), set[str]()
    try:
        with path.open(errors="replace") as lines:
            for number, line in enumerate(lines, start=1):
                if line.startswith("ENDMDL"):
                    break
                residue, hetero = line[21:27], line.startswith("HETATM")
                if hetero:
                    backbone.add((residue, line[12:16].strip()))
                if _is_alpha_carbon(line):
                    (occupancy, *place), kind = _numbers(path, number, line), _residue_type(line[17:20])
                    if residue not in found or occupancy > found[residue][0]:
                        found[residue] = occupancy, kind, place
                    if hetero and kind == RESIDUE_TYPES:
                        unconfirmed.add(residue)
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    for residue in unconfirmed:
        if not {(residue, "N"), (residue, "C")} <= backbone:
            del found[residue]
    if not found:
        raise UsageError(f"{path} holds no residue with a C-alpha atom")
    _, types, positions = zip(*found.values(), strict=True)
    return Receptor(np.array(types), np.array(positions))


def _is_alpha_carbon(line: str) -> bool:
    """Whether a line of a PDB file is a C-alpha atom; a calcium ion has the same name, one column to the left."""
    name = line[12:16]
    return line.startswith(("ATOM", "HETATM")) and (
        name == " CA " or (name.strip(), line[76:78].strip()) == ("CA", "C")
    )


def _numbers(path: Path, number: int, line: str) -> list[float]:
    """The occupancy (1 if it is blank) and the position in a line of a PDB file."""
    columns = (line[54:60].strip() or "1", line[30:38], line[38:46], line[46:54])
    try:
        values = [float(column) for column in columns]
    except ValueError:
        values = [np.nan]
    if not np.isfinite(values).all():
        raise UsageError(f"{path}, line {number}: the position or occupancy is not a number")
    return values


def _atom_type(symbol: str, aromatic: bool) -> int:
    return 1 + 2 * _ELEMENTS.index(symbol) + aromatic if symbol in _ELEMENTS else ATOM_TYPES


def _residue_type(name: str) -> int:
    name = _ALIASES.get(name.strip(), name.strip())
    return 1 + _RESIDUES.index(name) if name in _RESIDUES else RESIDUE_TYPES


def _reachable(neighbors: Sequence[set[int]], start: int, without: int) -> np.ndarray:
    """The atoms that are connected to `start` if the bond to `without` is cut: bool [A]."""
    seen, todo = {start}, [start]
    while todo:
        atom = todo.pop()
        new = {n for n in neighbors[atom] if n not in seen and (atom, n) != (start, without)}
        seen |= new
        todo += new
    return np.isin(np.arange(len(neighbors)), list(seen))


def _rdkit() -> Any:
    """RDKit's module Chem; errors are raised here, so RDKit's own log of them is silenced."""
    try:
        from rdkit import Chem, RDLogger
    except ImportError as error:
        raise UsageError("molecules require RDKit: pip install -e '.[docking]'") from error
    RDLogger.DisableLog("rdApp.*")  # pyrefly: ignore[missing-attribute]
    return Chem
