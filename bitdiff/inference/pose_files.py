"""Writing sampled poses as an SDF file."""

from pathlib import Path

import numpy as np

from bitdiff.data import ligands
from bitdiff.runtime import files


def write_sdf(path: Path, outputs: dict[str, np.ndarray]) -> Path:
    """Writes a docking task's samples beside `path` as one SDF file, a record each; returns the file's path."""
    records = []
    for i, x in enumerate(outputs["pose"]):
        atoms, bonds, orders = (outputs[name][i] for name in ("atoms", "bonds", "orders"))
        molecule = ligands.to_molecule(atoms, bonds, orders, x)
        title = f"sample {i} in complex {outputs['source'][i]}"
        if "confidence" in outputs:
            title += f", confidence {outputs['confidence'][i]:.3f}"
        records.append(ligands.mol_block(molecule, title))
    files.write_text(path.with_suffix(".sdf"), "".join(records))
    return path.with_suffix(".sdf")


def has_elements(data: object) -> bool:
    """Whether the atoms of a config's `data` section are those of molecules, so that SDF can express them."""
    return getattr(data, "name", "") == "pdbbind" or getattr(data, "builder", "") == "molecules"
