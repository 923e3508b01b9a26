"""Complexes of a ligand and a receptor whose distribution of poses is known: two pockets fit the ligand equally well.

The ligands are random rigid trees of atoms or, with config.data.builder 'molecules', small molecules that RDKit builds,
in a random conformation in each pocket. A receptor is a set of points with types, like a protein's C-alpha atoms. Each
pocket holds residues around one pose of the ligand: for most atoms, there is one of the atom's type, roughly outward
from the ligand's center. It also holds a marker that determines how often the ligand binds there. The true pose of a
complex is in the pocket with the strong marker with probability STRONG, and otherwise in the other pocket. Nothing else
distinguishes the pockets, so a model has to compare the markers. In test complexes, the receptors, poses and torsion
angles are new, and so are the trees; the molecules are those of the training complexes.

Distances are in angstroms.
"""

from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from bitdiff.data import ligands
from bitdiff.data.complexes import Ligand, Receptor, Sizes, fields_of, pad, padded
from bitdiff.data.dataset import Arrays, Dataset
from bitdiff.runtime.errors import UsageError

STRONG = 0.7  # probability of the pocket with the strong marker
ATOMS = (8, 15)  # least and most atoms of a ligand
RESIDUES = (40, 60)
_BOND = 1.5
_APART = 1.4  # least distance between two atoms that are not bonded
_LINING = 4.5  # distance from an atom to the residue of its type
_OUTWARD = 4.0  # length of the outward part of that residue's direction, in standard deviations of the random part
_CLEARANCE = 3.8  # least distance between residues, and from a residue to an atom of the pose it is placed around
_MARKER = 7.2  # distance from a pocket's marker to the center of the ligand
_NO_CLASH = 2.8  # least distance between atoms that are more than three bonds apart
_POCKETS_APART = (16.0, 22.0)
_RADIUS = 18.0  # radius of the receptor; its center is the midpoint between the pockets
_TRIES = 500
_PLACES = 50  # candidate positions of a residue, of which the first free one is used
_TRAIN, _TEST = 2_000, 300

_SMILES = (
    *("CCOc1ccccc1", "CC(C)Cc1ccccc1", "NCCc1ccc(O)cc1", "CC(=O)Nc1ccc(O)cc1", "OCc1ccc(Cl)cc1F", "CCCCc1ccccn1"),
    *("COc1ccc(CN)cc1", "CC(O)CNc1ccccc1", "NC(Cc1ccccc1)C(=O)O", "O=C(O)CCc1ccccc1", "CSCCC(N)C(=O)O", "CCCCCCCCO"),
    *(
        "NCCCCC(N)C(=O)O",
        "CCN(CC)CCO",
        "OC(=O)CCCCC(=O)O",
        "COC(=O)c1ccccc1O",
        "CC(=O)Oc1ccccc1C(=O)O",
        "CCc1ccc(CC)cc1",
    ),
    *(
        "NC(=O)c1cccnc1CC",
        "OCCN1CCOCC1",
        "CC(C)NCC(O)COc1ccccc1",
        "CN(C)CCc1c[nH]cn1",
        "CCOC(=O)CC(C)=O",
        "Fc1ccc(CCN)cc1",
    ),
    *(
        "COCCOCCOC",
        "CC(C)C(=O)Nc1ccccc1",
        "O=C(Nc1ccccc1)CCl",
        "NS(=O)(=O)c1ccc(CC)cc1",
        "CCSc1nccc(C)n1",
        "OCC(O)c1ccccc1",
    ),
    *(
        "CC(N)COc1ccccc1C",
        "CCOCCNC(C)=O",
        "CCCNc1ccc(F)cc1",
        "OC(CN)c1ccc(O)cc1",
        "CCOc1ccc(C#N)cc1",
        "CCC(CO)NCc1ccco1",
    ),
)


class Kinds(NamedTuple):
    """The numbering of types.

    Types 1 to `atoms` are those of atoms and of the residues that line a pocket beside them; then come the two markers,
    and the fillers.
    """

    atoms: int

    @property
    def markers(self) -> tuple[int, int]:
        """The types of the strong and of the weak marker."""
        return self.atoms + 1, self.atoms + 2

    @property
    def fillers(self) -> tuple[int, int]:
        """The types of residues outside the pockets."""
        return self.atoms + 3, self.atoms + 4

    @property
    def residues(self) -> int:
        """The largest type of a residue."""
        return self.fillers[-1]


class LigandSource(NamedTuple):
    """Where ligands come from.

    kinds: the types.
    sizes: the largest sizes.
    draw: rng -> a ligand, and its conformations in the two pockets, float [2, A, 3], each around its center.
    about: a noun phrase for the data set's description.
    """

    kinds: Kinds
    sizes: Sizes
    draw: Callable[[np.random.Generator], tuple[Ligand, np.ndarray]]
    about: str


class Complex(NamedTuple):
    """A complex, without padding; `poses` float [2, A, 3] are the ligand in the strong and in the weak pocket."""

    ligand: Ligand
    poses: np.ndarray
    receptor: Receptor


def draw_complex(rng: np.random.Generator, source: LigandSource) -> Complex:
    """Samples a ligand and a receptor with two pockets for it, in a random orientation about the origin."""
    while True:
        ligand, shapes = source.draw(rng)
        direction = _unit(rng.normal(size=3))
        apart = rng.uniform(*_POCKETS_APART) / 2
        poses = np.stack(
            [x @ _rotation(rng).T + side * apart * direction for x, side in zip(shapes, (1, -1), strict=True)]
        )
        found = _line_pockets(rng, ligand.atoms, poses, source.kinds)
        if found is not None and (receptor := _fill(rng, poses, *found, source.kinds)) is not None:
            return Complex(ligand, poses, receptor)


def draw_pose(rng: np.random.Generator) -> int:
    """The index of a pose, drawn with the known probabilities."""
    return int(rng.random() >= STRONG)


def load(options: Any) -> Dataset:
    """2,000 complexes for training and 300 for testing, each with one pose; config.data.builder names the ligands.

    Raises:
      UsageError: the builder is unknown, or requires RDKit, which is missing.
    """
    if options.builder not in SOURCES:
        raise UsageError(
            f"config.data.builder is {options.builder!r}; with the data set 'pockets', it must be '' (rigid trees) or "
            "'molecules'"
        )
    source = SOURCES[options.builder]
    return Dataset(
        field="pose",
        train=Arrays(draw_examples(_TRAIN, seed=0, source=source)),
        test=Arrays(draw_examples(_TEST, seed=1, source=source)),
        shape=(source.sizes.atoms, 3),
        vocab_size=0,
        num_classes=0,
        class_names=(),
        sizes=fields_of(source.sizes, source.kinds.atoms, source.kinds.residues),
        about=f"generated complexes of {source.about} with two pockets, bound with probabilities {STRONG:g} and "
        f"{1 - STRONG:g}, {_TRAIN} training / {_TEST} test",
    )


def draw_examples(count: int, seed: int, source: LigandSource) -> dict[str, np.ndarray]:
    """Padded complexes [N, ...] as in `complexes.padded`, with one pose each.

    For evaluation, they also have 'poses' float32 [N, 2, A, 3], both true poses, and 'pocket' int32 [N], the index of
    'pose' among them.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        one, pocket = draw_complex(rng, source), draw_pose(rng)
        row = padded(one.ligand._replace(x=one.poses[pocket]), one.receptor, source.sizes)
        known = np.stack([pad(pose, source.sizes.atoms) for pose in one.poses])
        rows.append(row | {"poses": known, "pocket": np.int32(pocket)})
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _draw_tree(rng: np.random.Generator, kinds: Kinds) -> tuple[Ligand, np.ndarray]:
    """A rigid tree grown one atom at a time, the same in both pockets."""
    x, bonds = [np.zeros(3)], []
    count = int(rng.integers(ATOMS[0], ATOMS[1] + 1))
    while len(x) < count:
        parent = int(rng.integers(max(len(x) - 3, 0), len(x)))
        new = x[parent] + _BOND * _unit(rng.normal(size=3))
        others = np.delete(np.array(x), parent, axis=0)
        if not len(others) or np.linalg.norm(others - new, axis=1).min() >= _APART:
            bonds.append((parent, len(x)))
            x.append(new)
    shape = np.array(x) - np.mean(x, axis=0)
    rigid = (np.zeros((0, 2), int), np.zeros((0, count), bool))
    atoms = rng.integers(1, kinds.atoms + 1, count)
    ligand = Ligand(atoms, atoms, np.zeros_like(atoms), np.array(bonds), np.ones(count - 1, int), shape, *rigid)
    return ligand, np.stack([shape, shape])


@lru_cache(maxsize=1)
def _molecules() -> list[Ligand]:
    return [ligands.from_smiles(smiles, seed=0) for smiles in _SMILES]


def _draw_molecule(rng: np.random.Generator) -> tuple[Ligand, np.ndarray]:
    """A molecule, with random torsion angles in each pocket."""
    molecules = _molecules()
    ligand = molecules[int(rng.integers(len(molecules)))]
    return ligand, np.stack([_twisted(rng, ligand) for _ in range(2)])


def _twisted(rng: np.random.Generator, ligand: Ligand) -> np.ndarray:
    """The molecule around its center, with random torsion angles and without clashes."""
    bonded = np.eye(len(ligand.atoms), dtype=bool)
    bonded[tuple(ligand.bonds.T)] = bonded[tuple(ligand.bonds[:, ::-1].T)] = True
    near = np.linalg.matrix_power(bonded.astype(int), 3) > 0  # up to three bonds apart, as in a ring
    for _ in range(_TRIES):
        x = ligand.x.copy()
        for (i, j), side in zip(ligand.rotatable, ligand.moved, strict=True):
            turn = _about(_unit(x[j] - x[i]), rng.uniform(-np.pi, np.pi))
            x[side] = (x[side] - x[j]) @ turn.T + x[j]
        if np.linalg.norm(x[:, None] - x[None], axis=-1)[~near].min(initial=np.inf) > _NO_CLASH:
            return x - x.mean(axis=0)
    raise AssertionError(f"no conformation of {ligand} without clashes in {_TRIES} tries")


def _about(axis: np.ndarray, angle: float) -> np.ndarray:
    """The matrix of a rotation about an axis (Rodrigues' formula)."""
    x, y, z = axis
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k


def _line_pockets(
    rng: np.random.Generator, atoms: np.ndarray, poses: np.ndarray, kinds: Kinds
) -> tuple[list[int], list[np.ndarray]] | None:
    """Types and positions of the residues that line both pockets, and of the markers; None if there is no space."""
    types: list[int] = []
    positions: list[np.ndarray] = []
    for pose, marker in zip(poses, kinds.markers, strict=True):
        lined = 0
        middle = pose.mean(axis=0)
        for atom in rng.permutation(len(pose)):
            outward = _OUTWARD * _unit(pose[atom] - middle)
            place = _place(rng, pose[atom], _LINING, pose, positions, outward)
            if place is not None:
                types.append(int(atoms[atom]))
                positions.append(place)
                lined += 1
        place = _place(rng, middle, _MARKER, pose, positions, np.zeros(3))
        if lined < ATOMS[0] // 2 or place is None:
            return None
        types.append(marker)
        positions.append(place)
    return types, positions


def _place(
    rng: np.random.Generator,
    around: np.ndarray,
    distance: float,
    atoms: np.ndarray,
    taken: list[np.ndarray],
    toward: np.ndarray,
) -> np.ndarray | None:
    """A random point at a distance from another, at least _CLEARANCE from `atoms` and `taken`; None if none is free.

    Its direction is that of `toward` plus standard normal noise.
    """
    directions = toward + rng.normal(size=(_PLACES, 3))
    places = around + distance * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    near = np.concatenate([atoms, np.reshape(taken, (-1, 3))])
    free = np.sum((near - places[:, None]) ** 2, axis=-1).min(axis=1) >= _CLEARANCE**2
    return places[free.argmax()] if free.any() else None


def _fill(
    rng: np.random.Generator, poses: np.ndarray, types: list[int], positions: list[np.ndarray], kinds: Kinds
) -> Receptor | None:
    """Adds residues elsewhere, up to a random number in RESIDUES; None if there is no space. Their order is random."""
    count = int(rng.integers(RESIDUES[0], RESIDUES[1] + 1))
    atoms = poses.reshape(-1, 3)
    for _ in range(_TRIES):
        if len(types) >= count:
            break
        place = _RADIUS * rng.uniform() ** (1 / 3) * _unit(rng.normal(size=3))
        near = np.concatenate([atoms, np.array(positions)])
        if np.linalg.norm(near - place, axis=1).min() >= _CLEARANCE:
            types.append(int(rng.choice(kinds.fillers)))
            positions.append(place)
    if len(types) != count:
        return None
    order = rng.permutation(count)
    return Receptor(np.array(types)[order], np.array(positions)[order])


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly distributed rotation matrix, from a QR decomposition with positive diagonal."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


_TREE_KINDS, _MOLECULE_KINDS = Kinds(8), Kinds(ligands.ATOM_TYPES)
TREES = LigandSource(
    _TREE_KINDS,
    Sizes(ATOMS[1], 2 * ATOMS[1], 0, RESIDUES[1]),
    partial(_draw_tree, kinds=_TREE_KINDS),
    "rigid trees of atoms",
)
MOLECULES = LigandSource(
    _MOLECULE_KINDS, Sizes(ATOMS[1], 2 * ATOMS[1], 8, RESIDUES[1]), _draw_molecule, "small molecules"
)
SOURCES = {"": TREES, "molecules": MOLECULES}
