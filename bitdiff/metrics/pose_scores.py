"""Scores of a ligand's poses: the root mean square deviation from the true pose, corrected for symmetry."""

from collections.abc import Iterator

import numpy as np

_MOST_SYMMETRIES = 10_000


def symmetries(atoms: np.ndarray, bonds: np.ndarray) -> np.ndarray:
    """The permutations of a molecule's atoms that preserve their types and the bonds: int [S, A].

    The first is the identity; at most 10,000 are returned.

    Args:
      atoms: int [A], types.
      bonds: int [B, 2], pairs of bonded atoms.
    """
    bonded = np.zeros((len(atoms), len(atoms)), bool)
    bonded[bonds[:, 0], bonds[:, 1]] = bonded[bonds[:, 1], bonds[:, 0]] = True
    found = []
    for permutation in _extend(np.asarray(atoms), bonded, []):
        found.append(permutation)
        if len(found) == _MOST_SYMMETRIES:
            break
    return np.array(found)


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
