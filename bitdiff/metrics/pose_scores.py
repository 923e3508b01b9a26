"""Scores of a ligand's poses: deviations in position and in torsion angles, corrected for symmetry."""

from collections.abc import Iterator
from itertools import islice

import numpy as np

_MOST_SYMMETRIES = 10_000


def symmetries(atoms: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """The permutations of a molecule's atoms that preserve their elements and the bonds: int [S, A].

    The first is the identity; at most 10,000 are returned. If there are more, deviations that are minimized over them
    are upper bounds.

    Args:
      atoms: int [A], atomic numbers, or any other types.
      bonds: int [B, 2], pairs of bonded atoms; their orders do not matter, as in spyrmsd.
    """
    bonded = np.zeros((len(atoms), len(atoms)), bool)
    bonded[bonds[:, 0], bonds[:, 1]] = bonded[bonds[:, 1], bonds[:, 0]] = True
    order = _outward(bonded)
    kinds, neighbors = np.asarray(atoms)[order], bonded[np.ix_(order, order)]
    found = list(islice(_extend(kinds, neighbors, []), _MOST_SYMMETRIES))
    permutations = np.empty((len(found), len(atoms)), int)
    permutations[:, order] = order[np.array(found)]
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
    squared = [np.mean(np.sum((poses - truth[permutation]) ** 2, axis=-1), axis=-1) for permutation in permutations]
    return np.sqrt(np.min(squared, axis=0))


def torsion_errors(
    pose: np.ndarray, truth: np.ndarray, permutations: np.ndarray, bonds: np.ndarray, rotatable: np.ndarray
) -> np.ndarray:
    """Errors of a pose's torsion angles; the true pose's atoms are permuted by the symmetry with the lowest RMSD.

    Args:
      pose: float [A, 3].
      truth: float [A, 3].
      permutations: int [S, A], as returned by `symmetries`.
      bonds: int [B, 2], pairs of bonded atoms.
      rotatable: int [T, 2], rotatable bonds.

    Returns:
      float [T], from 0 to 180 degrees.
    """
    best = truth[min(permutations, key=lambda permutation: np.sum((pose - truth[permutation]) ** 2))]
    quadruples = [(_neighbor(bonds, i, j), i, j, _neighbor(bonds, j, i)) for i, j in rotatable.tolist()]
    if not quadruples:
        return np.zeros(0)
    one, other = (_dihedrals(x, np.array(quadruples)) for x in (pose, best))
    return np.degrees(np.abs((one - other + np.pi) % (2.0 * np.pi) - np.pi))


def _neighbor(bonds: np.ndarray, atom: int, without: int) -> int:
    """The lowest-numbered neighbor of an atom other than `without`."""
    others = [*bonds[bonds[:, 0] == atom, 1], *bonds[bonds[:, 1] == atom, 0]]
    return min(other for other in others if other != without)


def _dihedrals(x: np.ndarray, quadruples: np.ndarray) -> np.ndarray:
    """The torsion angles of atoms a-i-j-b, int [T, 4], in radians: float [T]."""
    a, i, j, b = (x[quadruples[:, k]] for k in range(4))
    axis = (j - i) / np.linalg.norm(j - i, axis=-1, keepdims=True)
    first, second = np.cross(a - i, axis), np.cross(b - j, axis)
    along = np.sum(np.cross(first, second) * axis, axis=-1)
    return np.arctan2(along, np.sum(first * second, axis=-1))


def _extend(atoms: np.ndarray, bonded: np.ndarray, images: list[int]) -> Iterator[list[int]]:
    """All extensions of a partial permutation, which maps the atoms 0 to len(images) - 1, in lexicographic order."""
    atom = len(images)
    if atom == len(atoms):
        yield images
        return
    for image in range(len(atoms)):
        same = atoms[image] == atoms[atom] and bonded[image].sum() == bonded[atom].sum()
        if same and image not in images and (bonded[image, images] == bonded[atom, :atom]).all():
            yield from _extend(atoms, bonded, [*images, image])
