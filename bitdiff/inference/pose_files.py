"""Writing sampled poses for molecular viewers: an SDF file of ligands, and a PDB file of ligands in their receptors."""

from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data import ligands
from bitdiff.runtime import files

_SERIALS = 100_000  # an atom's number has five digits


def write_sdf(path: Path, outputs: dict[str, np.ndarray]) -> Path:
    """Writes a docking task's samples beside `path` as one SDF file, a record each; returns the file's path."""
    records = []
    for i, x in enumerate(outputs["pose"]):
        elements, charges, bonds, orders = (outputs[name][i] for name in ("elements", "charges", "bonds", "orders"))
        molecule = ligands.to_molecule(elements, charges, bonds, orders, x)
        records.append(ligands.mol_block(molecule, _title(outputs, i)))
    files.write_text(path.with_suffix(".sdf"), "".join(records))
    return path.with_suffix(".sdf")


def write_pdb(path: Path, outputs: dict[str, np.ndarray], *, elements: bool, residues: bool) -> Path:
    """Writes a docking task's samples beside `path` as one PDB file, a model each; returns the file's path.

    A model holds a C-alpha atom per residue in chain A, and the ligand in chain L. Numbers that exceed their columns
    lose digits.

    Args:
      path: the file, whose suffix is replaced.
      outputs: the samples.
      elements: whether 'elements' are atomic numbers; otherwise, every atom is written as carbon.
      residues: whether residue types are amino acids; otherwise, every residue is written as UNK.
    """
    lines = []
    for i in range(len(outputs["pose"])):
        lines += [f"MODEL     {i + 1:4d}", f"REMARK    {_title(outputs, i)}"]
        receptor = _receptor({name: outputs[name][i] for name in ("residues", "positions")}, residues)
        lines += receptor
        ligand = {name: outputs[name][i] for name in ("elements", "bonds", "pose")}
        lines += _ligand(ligand, elements, first=len(receptor) + 1)
        lines.append("ENDMDL")
    files.write_text(path.with_suffix(".pdb"), "\n".join([*lines, "END", ""]))
    return path.with_suffix(".pdb")


def has_elements(data: Any) -> bool:
    """Whether the atoms of a config's `data` section are those of molecules, so that SDF can express them."""
    return data.name == "pdbbind" or data.builder == "molecules"


def has_amino_acids(data: Any) -> bool:
    """Whether the residues of a config's `data` section are those of proteins."""
    return data.name == "pdbbind"


def _title(outputs: dict[str, np.ndarray], i: int) -> str:
    title = f"sample {i} in complex {outputs['source'][i]}"
    return f"{title}, confidence {outputs['confidence'][i]:.3f}" if "confidence" in outputs else title


def _receptor(one: dict[str, np.ndarray], residues: bool) -> list[str]:
    exist = one["residues"] > 0
    return [
        _atom("ATOM", number, "CA", ligands.residue_of(kind) if residues else "UNK", "A", number, x, "C")
        for number, (kind, x) in enumerate(
            zip(one["residues"][exist].tolist(), one["positions"][exist], strict=True), start=1
        )
    ]


def _ligand(one: dict[str, np.ndarray], elements: bool, first: int) -> list[str]:
    """The records of the atoms, numbered from `first`, and of their bonds."""
    exist = one["elements"] > 0
    lines = []
    for i, (element, x) in enumerate(zip(one["elements"][exist].tolist(), one["pose"][exist], strict=True)):
        symbol = ligands.symbol_of(element) if elements else "C"
        lines.append(_atom("HETATM", first + i, f"{symbol}{i + 1}", "LIG", "L", 1, x, symbol))
    bonds = (one["bonds"] + first) % _SERIALS
    return lines + [f"CONECT{i:5d}{j:5d}" for i, j in bonds.tolist() if i != j]


def _atom(
    record: str, number: int, name: str, residue: str, chain: str, place: int, x: np.ndarray, element: str
) -> str:
    position = "".join(f"{value:8.3f}"[:8] for value in x.tolist())
    name = name.upper() if len(element) == 2 else f" {name}"  # the symbol ends in the second column of the name
    return (
        f"{record:6s}{number % _SERIALS:5d} {name:4.4s} {residue:3s} {chain}{place % 10_000:4d}    {position}"
        f"  1.00  0.00          {element.upper():>2s}"
    )
