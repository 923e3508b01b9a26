"""Complexes of a ligand and a receptor, padded to fixed sizes so that a batch of them is a few arrays."""

from typing import Any, NamedTuple

import numpy as np


class Ligand(NamedTuple):
    """A molecule without padding.

    atoms: int [A], types from 1, the network's input.
    elements: int [A], atomic numbers; in a synthetic ligand, the types. Symmetries exchange atoms with equal ones.
    charges: int [A], formal charges.
    bonds: int [B, 2], pairs of bonded atoms.
    orders: int [B], 1 to 3 for single to triple bonds; aromatic rings have alternating single and double bonds.
    x: float [A, 3], positions in angstroms.
    rotatable: int [T, 2], rotatable bonds (i, j).
    moved: bool [T, A], the atoms on the side of j, which is the smaller side.
    """

    atoms: np.ndarray
    elements: np.ndarray
    charges: np.ndarray
    bonds: np.ndarray
    orders: np.ndarray
    x: np.ndarray
    rotatable: np.ndarray
    moved: np.ndarray


class Receptor(NamedTuple):
    """The residues of a protein: int [R], types from 1, and float [R, 3], positions in angstroms."""

    residues: np.ndarray
    positions: np.ndarray


class Sizes(NamedTuple):
    """The largest numbers of atoms, bonds, rotatable bonds and residues of a data set's complexes."""

    atoms: int
    bonds: int
    torsions: int
    residues: int


def fields_of(sizes: Sizes, atom_types: int, residue_types: int) -> tuple[tuple[str, int], ...]:
    """The fields of config.data that state the sizes and the largest types, with their values."""
    named = {"atoms": sizes.atoms, "torsions": sizes.torsions, "length": sizes.residues}
    return tuple((named | {"atom_types": atom_types, "residue_types": residue_types}).items())


def sizes_of(options: Any) -> Sizes:
    """The sizes that config.data states; bonds are limited to twice the number of atoms."""
    return Sizes(options.atoms, 2 * options.atoms, options.torsions, options.length)


def padded(ligand: Ligand, receptor: Receptor, sizes: Sizes) -> dict[str, np.ndarray]:
    """One padded example; type 0 and bond (0, 0) mark padding.

    'pose' float32 [A, 3]; 'atoms', 'elements' and 'charges' int32 [A]; 'bonds' int32 [B, 2], 'orders' int32 [B],
    'rotatable' int32 [T, 2], 'moved' bool [T, A], 'residues' int32 [R] and 'positions' float32 [R, 3].
    """
    moved = np.zeros((sizes.torsions, sizes.atoms), bool)
    moved[: len(ligand.moved), : len(ligand.atoms)] = ligand.moved
    return {
        "pose": pad(ligand.x, sizes.atoms),
        "atoms": pad(ligand.atoms, sizes.atoms),
        "elements": pad(ligand.elements, sizes.atoms),
        "charges": pad(ligand.charges, sizes.atoms),
        "bonds": pad(ligand.bonds, sizes.bonds),
        "orders": pad(ligand.orders, sizes.bonds),
        "rotatable": pad(ligand.rotatable, sizes.torsions),
        "moved": moved,
        "residues": pad(receptor.residues, sizes.residues),
        "positions": pad(receptor.positions, sizes.residues),
    }


def pad(array: np.ndarray, count: int) -> np.ndarray:
    """Pads an array with zeros to `count` rows, as float32 or int32."""
    full = np.zeros((count, *array.shape[1:]), np.float32 if array.dtype.kind == "f" else np.int32)
    full[: len(array)] = array
    return full
