"""Scores of a ligand's poses: deviations in position and in torsion angles, corrected for symmetry."""

from collections.abc import Iterator
from functools import lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

_MOST_SYMMETRIES = 10_000


def symmetries(atoms: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """The permutations of a molecule's atoms that preserve their elements and the bonds: int16 [S, A], read-only.

    The first is the identity; at most 10,000 are returned. If there are more, deviations that are minimized over them
    are upper bounds.

    Args:
      atoms: int [A], atomic numbers, or any other types.
      bonds: int [B, 2], pairs of bonded atoms; their orders do not matter, as in spyrmsd.
    """
    return _search(tuple(np.asarray(atoms).tolist()), tuple(map(tuple, np.asarray(bonds).tolist())))


@lru_cache(maxsize=20_000)  # many poses of each ligand are scored; PDBBind has fewer ligands than that
def _search(atoms: tuple[int, ...], bonds: tuple[tuple[int, int], ...]) -> np.ndarray:
    """The `symmetries` of hashable arguments."""
    bonded = np.zeros((len(atoms), len(atoms)), bool)
    for i, j in bonds:
        bonded[i, j] = bonded[j, i] = True
    order = _outward(bonded)
    kinds, neighbors = np.array(atoms)[order], bonded[np.ix_(order, order)]
    degrees = neighbors.sum(axis=0)
    alike = (kinds[:, None] == kinds) & (degrees[:, None] == degrees)
    candidates = [np.flatnonzero(row).tolist() for row in alike]
    found = list(islice(_extend(candidates, neighbors, []), _MOST_SYMMETRIES))
    permutations = np.empty((len(found), len(atoms)), np.int16)
    permutations[:, order] = order[np.array(found)]
    permutations.flags.writeable = False
    return permutations


def _outward(bonded: np.ndarray) -> np.ndarray:
    """An order in which each atom is bonded to an earlier one wherever possible, so that the search can stop early."""
    order: list[int] = []
    while len(order) < len(bonded):
        near = [atom for atom in range(len(bonded)) if atom not in order and bonded[atom, order].any()]
        order.append(near[0] if near else min(set(range(len(bonded))) - set(order)))
    return np.array(order)


def rmsd(poses: np.ndarray, truth: np.ndarray, permutations: np.ndarray) -> np.ndarray:
    """The smallest root mean square deviation over the permutations of the true pose, without alignment.

    Args:
      poses: float [N, A, 3], in angstroms.
      truth: float [A, 3].
      permutations: int [S, A], as returned by `symmetries`.

    Returns:
      float [N].
    """
    images = truth[permutations]
    return np.sqrt([np.mean(np.sum((pose - images) ** 2, axis=-1), axis=-1).min() for pose in poses])


def torsion_errors(
    pose: np.ndarray, truth: np.ndarray, permutations: np.ndarray, bonds: np.ndarray, rotatable: np.ndarray
) -> np.ndarray:
    """Errors of a pose's torsion angles; of the molecule's symmetries, the one with the smallest sum of errors counts.

    The error of a rotatable bond is the largest over all pairs of neighbors of its two atoms, so that a rotated group
    with equivalent atoms counts as correct only if all of its atoms are at the right angle.

    Args:
      pose: float [A, 3].
      truth: float [A, 3].
      permutations: int [S, A], as returned by `symmetries`.
      bonds: int [B, 2], pairs of bonded atoms.
      rotatable: int [T, 2], rotatable bonds.

    Returns:
      float [T], from 0 to 180 degrees.
    """
    if not len(rotatable):
        return np.zeros(0)
    angles = _angles(bonds, rotatable)
    return _smallest_errors(_dihedrals(pose, angles.atoms), truth[permutations], angles)


def random_torsion_errors(
    rng: np.random.Generator, truth: np.ndarray, permutations: np.ndarray, bonds: np.ndarray, rotatable: np.ndarray
) -> np.ndarray:
    """The `torsion_errors` after rotating each rotatable bond by a uniformly random angle: the chance level."""
    if not len(rotatable):
        return np.zeros(0)
    angles = _angles(bonds, rotatable)
    turns = np.repeat(rng.uniform(-np.pi, np.pi, len(rotatable)), np.diff([*angles.first, len(angles.atoms)]))
    return _smallest_errors(_dihedrals(truth, angles.atoms) + turns, truth[permutations], angles)


class _Angles(NamedTuple):
    """The dihedral angles of all rotatable bonds.

    atoms: int [Q, 4], the four atoms of each angle.
    first: int [T], the index of the first angle of each rotatable bond.
    """

    atoms: np.ndarray
    first: np.ndarray


def _angles(bonds: np.ndarray, rotatable: np.ndarray) -> _Angles:
    found: list[tuple[int, int, int, int]] = []
    first = []
    for i, j in rotatable.tolist():
        first.append(len(found))
        found += [(a, i, j, b) for a in _neighbors(bonds, i, j) for b in _neighbors(bonds, j, i)]
    return _Angles(np.array(found), np.array(first))


def _neighbors(bonds: np.ndarray, atom: int, without: int) -> list[int]:
    """The neighbors of an atom other than `without`."""
    others = [*bonds[bonds[:, 0] == atom, 1], *bonds[bonds[:, 1] == atom, 0]]
    return [int(other) for other in others if other != without]


def _smallest_errors(found: np.ndarray, images: np.ndarray, angles: _Angles) -> np.ndarray:
    """Errors [T], in degrees, of dihedral angles [Q], for the pose of `images` [S, A, 3] with the smallest sum."""
    errors = np.abs((found - _dihedrals(images, angles.atoms) + np.pi) % (2.0 * np.pi) - np.pi)
    each = np.maximum.reduceat(errors, angles.first, axis=1)
    return np.degrees(each[each.sum(axis=1).argmin()])


def _dihedrals(x: np.ndarray, quadruples: np.ndarray) -> np.ndarray:
    """The angles of atoms a-i-j-b, int [Q, 4], at x [..., A, 3]: float [..., Q], in radians."""
    a, i, j, b = (x[..., quadruples[:, k], :] for k in range(4))
    axis = (j - i) / np.linalg.norm(j - i, axis=-1, keepdims=True)
    first, second = np.cross(a - i, axis), np.cross(b - j, axis)
    along = np.sum(np.cross(first, second) * axis, axis=-1)
    return np.arctan2(along, np.sum(first * second, axis=-1))


def _extend(candidates: list[list[int]], bonded: np.ndarray, images: list[int]) -> Iterator[list[int]]:
    """All extensions of a partial permutation, which maps the atoms 0 to len(images) - 1, in lexicographic order."""
    atom = len(images)
    if atom == len(candidates):
        yield images
        return
    for image in candidates[atom]:
        if image not in images and (bonded[image, images] == bonded[atom, :atom]).all():
            yield from _extend(candidates, bonded, [*images, image])
