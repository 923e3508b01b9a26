"""PDBBind in DiffDock's layout: a folder per complex, and text files that name the complexes of each split.

config.data.path holds one folder per complex, NAME/NAME_protein_processed.pdb with NAME/NAME_ligand.sdf or .mol2, as in
`PDBBind_processed` of https://zenodo.org/records/6408497. config.data.train_split and test_split are text files with a
name per line, relative to the path; DiffDock's repository (gcorso/DiffDock) has them in data/splits as
timesplit_no_lig_overlap_train and timesplit_test.

'pose' is the ligand's crystal structure. Training adds noise to 'conformer', and sampling starts from it. RDKit builds
it (see `ligands.matched_conformer`), because the bond lengths, bond angles and rings of a new ligand are unknown; if
RDKit fails, the crystal structure is used. Conformers are not saved to disk; each process builds
its own.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdiff.data import ligands
from bitdiff.data.complexes import Ligand, Receptor, Sizes, fields_of, pad, padded, sizes_of
from bitdiff.data.dataset import Dataset
from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError

# Training uses the conformer, of several, that is closest to the crystal structure: it is a better target. Test
# complexes get a single one, because choosing by the distance from the crystal structure would leak the shapes of their
# rings.
_TRAINING_SEEDS, _TEST_SEEDS = range(10, 15), (10,)


class LigandFile(NamedTuple):
    """A ligand, and the file it was read from."""

    ligand: Ligand
    path: Path


class Complexes:
    """Complexes by index; receptors are read, and conformers built, when they are first used, then cached."""

    def __init__(self, root: Path, found: dict[str, LigandFile], sizes: Sizes, seeds: Sequence[int]):
        self._root, self._names, self._found, self._sizes, self._seeds = root, list(found), found, sizes, seeds
        self._cached: dict[str, tuple[Receptor, np.ndarray]] = {}

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> dict[str, Any]:
        name = self._names[index]
        if name not in self._cached:
            self._cached[name] = ligands.read_receptor(_protein(self._root, name)), self._conformer(name)
        receptor, conformer = self._cached[name]
        return padded(self._found[name].ligand, receptor, self._sizes) | {
            "conformer": pad(conformer, self._sizes.atoms)
        }

    def _conformer(self, name: str) -> np.ndarray:
        """RDKit's conformer; if it cannot be built, logs a warning and returns the file's."""
        ligand, path = self._found[name]
        try:
            return ligands.matched_conformer(path, self._seeds)
        except (UsageError, ValueError, RuntimeError) as error:
            logging.warning("%s: the crystal structure replaces RDKit's conformer: %s", name, error)
            return ligand.x


def load(options: Any) -> Dataset:
    """The complexes of both splits whose files can be read and whose sizes the config allows.

    Files are checked up front; receptors are read again, and conformers built, when they are first used.

    Raises:
      UsageError: a folder or file is missing, a size is not set, or no complex of a split can be used.
    """
    root = Path(options.path).expanduser()
    if not options.path or not root.is_dir():
        raise UsageError(f"config.data.path is {options.path!r}; it must be a folder with one folder per complex")
    sizes = sizes_of(options)
    if min(sizes) < 1:
        raise UsageError(
            f"config.data has atoms {options.atoms}, torsions {options.torsions} and length {options.length}; each "
            "must be at least 1; larger complexes are left out"
        )
    splits = [_read(root, name, _names(root, name), sizes) for name in (options.train_split, options.test_split)]
    counts = " / ".join(
        f"{len(found):,} of {len(found) + left:,} {what}"
        for (found, left), what in zip(splits, ("training", "test"), strict=True)
    )
    return Dataset(
        field="pose",
        train=Complexes(root, splits[0][0], sizes, _TRAINING_SEEDS),
        test=Complexes(root, splits[1][0], sizes, _TEST_SEEDS),
        shape=(sizes.atoms, 3),
        vocab_size=0,
        num_classes=0,
        class_names=(),
        sizes=fields_of(sizes, ligands.ATOM_TYPES, ligands.RESIDUE_TYPES),
        about=f"complexes of PDBBind in {root.name}, {counts}; the others are unreadable or too large",
    )


def _names(root: Path, split: str) -> list[str]:
    path = root / split
    if not split or not path.is_file():
        raise UsageError(
            f"config.data.train_split or test_split is {split!r}; it must name a text file in {root} with one "
            "complex name per line"
        )
    return path.read_text().split()


def _read(root: Path, split: str, names: list[str], sizes: Sizes) -> tuple[dict[str, LigandFile], int]:
    """The ligands of a split's complexes that can be used, by name, and how many others there are."""
    found: dict[str, LigandFile] = {}
    with progress_bar(f"reading {split}", "complex", total=len(names)) as bar:
        for name in names:
            one = _find_ligand(root, name)
            if one is not None and _fits(one.ligand, _count_residues(_protein(root, name)), sizes):
                found[name] = one
            bar.update()
    if not found:
        raise UsageError(
            f"none of the {len(names)} complexes of {root / split} can be used; the first one requires "
            f"{_protein(root, (names or ['NAME'])[0])} and a ligand (.sdf or .mol2) beside it, within the sizes of "
            "config.data"
        )
    return found, len(names) - len(found)


def _find_ligand(root: Path, name: str) -> LigandFile | None:
    """A complex's ligand from the first file that can be read; None if there is none."""
    for path in _ligand_files(root, name):
        try:
            return LigandFile(ligands.read_ligand(path), path)
        except UsageError:
            continue
    return None


def _ligand_files(root: Path, name: str) -> Iterator[Path]:
    for suffix in (".sdf", ".mol2"):
        if (path := root / name / f"{name}_ligand{suffix}").is_file():
            yield path


def _protein(root: Path, name: str) -> Path:
    return root / name / f"{name}_protein_processed.pdb"


def _count_residues(path: Path) -> int:
    """The number of residues of a receptor; 0 if it cannot be read."""
    try:
        return len(ligands.read_receptor(path).residues)
    except UsageError:
        return 0


def _fits(ligand: Ligand, residues: int, sizes: Sizes) -> bool:
    own = Sizes(len(ligand.atoms), len(ligand.bonds), len(ligand.rotatable), residues)
    return bool(residues) and bool((np.array(own) <= np.array(sizes)).all())
