"""Complexes of a ligand and a receptor whose distribution of poses is known: two pockets fit the ligand equally well.

A receptor is a set of points with types, like a protein's C-alpha atoms. Each pocket holds residues around one pose of
the ligand, with the types of the nearest atoms, and a marker that determines how often the ligand binds there.
Given a complex, the pose is the one in the pocket with the strong marker with probability STRONG, and otherwise the one
in the other pocket. Nothing else distinguishes the pockets, so a model has to compare the markers.

Distances are in angstroms.
"""

from typing import Any, NamedTuple

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset

STRONG = 0.7  # probability of the pocket with the strong marker
ATOM_TYPES = 4  # types 1 to 4 of atoms, and of the residues next to them; 0 is padding
STRONG_MARKER, WEAK_MARKER = ATOM_TYPES + 1, ATOM_TYPES + 2
FILLERS = (ATOM_TYPES + 3, ATOM_TYPES + 4)  # residues outside the pockets
RESIDUE_TYPES = FILLERS[-1]

ATOMS = (8, 15)  # least and most atoms of a ligand
RESIDUES = (40, 60)
_BOND = 1.5
_APART = 1.4  # least distance between two atoms that are not bonded
_LINING = 4.5  # distance from an atom to the residue of its type
_CLEARANCE = 3.8  # least distance from a residue to another one, and from a filler to an atom
_POCKETS_APART = (16.0, 22.0)
_RADIUS = 18.0  # of the receptor, whose center is halfway between its pockets
_TRIES = 500
_TRAIN, _TEST = 2_000, 300


class Complex(NamedTuple):
    """A complex, without padding.

    atoms: int [A], types of the ligand's atoms.
    bonds: int [A - 1, 2], pairs of bonded atoms.
    poses: float [2, A, 3], the ligand in the strong and in the weak pocket.
    residues: int [R], types.
    positions: float [R, 3], of the residues.
    """

    atoms: np.ndarray
    bonds: np.ndarray
    poses: np.ndarray
    residues: np.ndarray
    positions: np.ndarray


def draw_complex(rng: np.random.Generator) -> Complex:
    """Draws a ligand and a receptor with two pockets for it, in a random orientation about the origin."""
    while True:
        x, bonds = _draw_ligand(rng, int(rng.integers(ATOMS[0], ATOMS[1] + 1)))
        atoms = rng.integers(1, ATOM_TYPES + 1, len(x))
        direction = _unit(rng.normal(size=3))
        apart = rng.uniform(*_POCKETS_APART) / 2
        poses = np.stack([x @ _rotation(rng).T + side * apart * direction for side in (1.0, -1.0)])
        found = _line_pockets(rng, atoms, poses)
        if found is not None and (filled := _fill(rng, poses, *found)) is not None:
            return Complex(atoms, bonds, poses, *filled)


def draw_pose(rng: np.random.Generator) -> int:
    """The index of a pose, drawn with the known probabilities."""
    return int(rng.random() >= STRONG)


def load(options: Any) -> Dataset:
    """2,000 complexes for training and 300 for testing, each with one pose; it has no options."""
    del options
    return Dataset(
        field="pose",
        train=Arrays(draw_examples(_TRAIN, seed=0)),
        test=Arrays(draw_examples(_TEST, seed=1)),
        shape=(ATOMS[1], 3),
        vocab_size=0,
        num_classes=0,
        class_names=(),
        length=RESIDUES[1],
        types=(ATOM_TYPES, RESIDUE_TYPES),
        about=f"generated complexes with two pockets, bound with probabilities {STRONG:g} and {1 - STRONG:g}, "
        f"{_TRAIN} training / {_TEST} test",
    )


def draw_examples(count: int, seed: int) -> dict[str, np.ndarray]:
    """Padded arrays [N, ...] of complexes by name, with one pose each.

    'pose' float32 [A, 3], 'atoms' int32 [A], 'bonds' int32 [A - 1, 2], 'residues' int32 [R], 'positions' float32
    [R, 3]; 'rotatable' int32 [0, 2] and 'moved' bool [0, A], as in `poses.Tree`, since the ligands are rigid; 'poses'
    float32 [2, A, 3] and 'pocket' int32, the index of the pose, for evaluation. Type 0 is padding.
    """
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(count):
        one, pocket = draw_complex(rng), draw_pose(rng)
        rows.append(
            {
                "pose": _pad(one.poses[pocket], ATOMS[1]),
                "atoms": _pad(one.atoms, ATOMS[1]),
                "bonds": _pad(one.bonds, ATOMS[1] - 1),
                "residues": _pad(one.residues, RESIDUES[1]),
                "positions": _pad(one.positions, RESIDUES[1]),
                "rotatable": np.zeros((0, 2), np.int32),
                "moved": np.zeros((0, ATOMS[1]), bool),
                "poses": np.stack([_pad(pose, ATOMS[1]) for pose in one.poses]),
                "pocket": np.int32(pocket),
            }
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _draw_ligand(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Atoms [A, 3] around their center, and bonds [A - 1, 2]: a tree grown one atom at a time."""
    x, bonds = [np.zeros(3)], []
    while len(x) < count:
        parent = int(rng.integers(max(len(x) - 3, 0), len(x)))
        new = x[parent] + _BOND * _unit(rng.normal(size=3))
        others = np.delete(np.array(x), parent, axis=0)
        if not len(others) or np.linalg.norm(others - new, axis=1).min() >= _APART:
            bonds.append((parent, len(x)))
            x.append(new)
    return np.array(x) - np.mean(x, axis=0), np.array(bonds)


def _line_pockets(
    rng: np.random.Generator, atoms: np.ndarray, poses: np.ndarray
) -> tuple[list[int], list[np.ndarray]] | None:
    """Types and positions of the residues that line both pockets, and of the markers; None if there is no space."""
    types: list[int] = []
    positions: list[np.ndarray] = []
    for pose, marker in zip(poses, (STRONG_MARKER, WEAK_MARKER), strict=True):
        lined = 0
        for atom in rng.permutation(len(pose)):
            place = _place(rng, pose[atom], _LINING, pose, positions)
            if place is not None:
                types.append(int(atoms[atom]))
                positions.append(place)
                lined += 1
        place = _place(rng, pose.mean(axis=0), 1.6 * _LINING, pose, positions)
        if lined < ATOMS[0] // 2 or place is None:
            return None
        types.append(marker)
        positions.append(place)
    return types, positions


def _place(
    rng: np.random.Generator, around: np.ndarray, distance: float, atoms: np.ndarray, taken: list[np.ndarray]
) -> np.ndarray | None:
    """A random point at a distance from another, at least _CLEARANCE from all atoms and residues; None if not found."""
    for _ in range(50):
        place = around + distance * _unit(rng.normal(size=3))
        near = np.concatenate([atoms, np.reshape(taken, (-1, 3))])
        if np.linalg.norm(near - place, axis=1).min() >= _CLEARANCE:
            return place
    return None


def _fill(
    rng: np.random.Generator, poses: np.ndarray, types: list[int], positions: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray] | None:
    """Adds residues elsewhere, up to a random number in RESIDUES; None if there is no space. Their order is random."""
    count = int(rng.integers(RESIDUES[0], RESIDUES[1] + 1))
    atoms = poses.reshape(-1, 3)
    for _ in range(_TRIES):
        if len(types) >= count:
            break
        place = _RADIUS * rng.uniform() ** (1 / 3) * _unit(rng.normal(size=3))
        near = np.concatenate([atoms, np.array(positions)])
        if np.linalg.norm(near - place, axis=1).min() >= _CLEARANCE:
            types.append(int(rng.choice(FILLERS)))
            positions.append(place)
    if len(types) != count:
        return None
    order = rng.permutation(count)
    return np.array(types)[order], np.array(positions)[order]


def _rotation(rng: np.random.Generator) -> np.ndarray:
    """A uniformly distributed rotation matrix, from a QR decomposition with positive diagonal."""
    q, r = np.linalg.qr(rng.normal(size=(3, 3)))
    q = q * np.sign(np.diag(r))
    return q * np.linalg.det(q)


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector)


def _pad(array: np.ndarray, count: int) -> np.ndarray:
    """The array with zeros up to `count` rows, in float32 or int32."""
    padded = np.zeros((count, *array.shape[1:]), np.float32 if array.dtype.kind == "f" else np.int32)
    padded[: len(array)] = array
    return padded
