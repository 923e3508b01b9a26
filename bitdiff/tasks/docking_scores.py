"""Scores of sampled poses: distances from the true poses, torsion angles, top-ranked poses, and the pockets chosen."""

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import binom

from bitdiff.data import Dataset, Source, pockets
from bitdiff.data.dataset import rows
from bitdiff.metrics.pose_scores import random_torsion_errors, rmsd, symmetries, torsion_errors
from bitdiff.tasks.options import SampleOptions
from bitdiff.tasks.task import Score, examples_of

CLOSE, _NEAR = 2.0, 5.0  # angstroms
_TORSION_LIMITS = (10, 30, 60, 120)  # degrees
_TORSION_CLOSE = 30
_TOP = 5  # poses per complex, of which the best one counts


class Distances(NamedTuple):
    """How far a pose is from the true ones.

    deviation: the RMSD from the pose in the data.
    centroid: the distance between the centers of the pose and of the pose in the data.
    nearest: the RMSD from each of the known true poses.
    torsions: the errors of the torsion angles, in degrees, from the nearest true pose.
    random_torsions: the errors of random torsion angles from that pose.
    """

    deviation: float
    centroid: float
    nearest: np.ndarray
    torsions: np.ndarray
    random_torsions: np.ndarray


def deviations(outputs: dict[str, np.ndarray], examples: Source) -> np.ndarray:
    """The RMSD of sampled poses [N, A, 3] from those of the examples at the indices `outputs['source']`: float [N]."""
    truth = rows(examples, outputs["source"])
    found = []
    for i, pose in enumerate(outputs["pose"]):
        one = _row(truth, i)
        exist = one["atoms"] > 0
        found.append(rmsd(pose[None, exist], one["pose"][exist], _symmetries(one))[0])
    return np.array(found)


def evaluate(outputs: dict[str, np.ndarray], dataset: Dataset, options: SampleOptions) -> dict[str, Score]:
    """Scores sampled poses [N, A, 3] against those of the examples at the indices `outputs['source']`.

    A pose that is not finite counts as infinitely far from every true pose, and as in neither pocket.
    """
    del options
    truth = rows(examples_of(dataset), outputs["source"])
    measured = _measure(outputs, truth)
    deviation, centroid, nearest = (
        np.nan_to_num(np.array([getattr(one, name) for one in measured]), nan=np.inf, posinf=np.inf)
        for name in ("deviation", "centroid", "nearest")
    )
    count = len(deviation)
    scores = {
        "rmsd_below_2": _fraction(deviation < CLOSE, f"of {count} poses with an RMSD below 2 A"),
        "rmsd_below_5": _fraction(deviation < _NEAR, f"of {count} poses with an RMSD below 5 A"),
        "rmsd_median": Score(float(np.median(deviation)), "median RMSD in angstroms"),
        "centroid_below_2": _fraction(centroid < CLOSE, f"of {count} poses with a center within 2 A of the true one"),
    }
    scores |= _best_of(deviation, outputs["source"])
    scores |= _torsions(measured)
    if "confidence" in outputs:
        scores |= _ranked(deviation, nearest if "poses" in truth else None, outputs)
    if "poses" in truth:
        scores |= _two_pockets(outputs, truth, nearest)
    return scores


def _measure(outputs: dict[str, np.ndarray], truth: dict[str, np.ndarray]) -> list[Distances]:
    """The distances of every pose from the true ones in the same row."""
    rows_of_truth = [_row(truth, i) for i in range(len(outputs["pose"]))]
    return [
        _distances(np.random.default_rng(i), pose, one, _symmetries(one))
        for i, (pose, one) in enumerate(zip(outputs["pose"], rows_of_truth, strict=True))
    ]


def _row(arrays: dict[str, np.ndarray], i: int) -> dict[str, np.ndarray]:
    return {name: array[i] for name, array in arrays.items()}


def _symmetries(truth: dict[str, np.ndarray]) -> np.ndarray:
    return symmetries(truth["elements"][truth["atoms"] > 0], _real(truth["bonds"]))


def _real(bonds: np.ndarray) -> np.ndarray:
    """The bonds that are not padding."""
    return bonds[bonds[:, 0] != bonds[:, 1]]


def _distances(
    rng: np.random.Generator, pose: np.ndarray, truth: dict[str, np.ndarray], permutations: np.ndarray
) -> Distances:
    exist = truth["atoms"] > 0
    x, aim = pose[exist], truth["pose"][exist]
    known = truth.get("poses", truth["pose"][None])[:, exist]
    nearest = np.array([rmsd(x[None], one, permutations)[0] for one in known])
    molecule = known[nearest.argmin()], permutations, _real(truth["bonds"]), _real(truth["rotatable"])
    deviation = rmsd(x[None], aim, permutations)[0] if "poses" in truth else nearest[0]
    centroid = float(np.linalg.norm(x.mean(0) - aim.mean(0)))
    return Distances(deviation, centroid, nearest, torsion_errors(x, *molecule), random_torsion_errors(rng, *molecule))


def _torsions(measured: list[Distances]) -> dict[str, Score]:
    """The distribution of the errors of torsion angles, beside that of random angles; {} for rigid ligands."""
    errors, chance = (
        np.concatenate([getattr(one, name) for one in measured]) for name in ("torsions", "random_torsions")
    )
    if not len(errors):
        return {}
    scores = {}
    for limit in _TORSION_LIMITS:
        about = f"of {len(errors)} torsion angles within {limit} degrees of those of the nearest true pose"
        scores[f"torsion_below_{limit}"] = _fraction(errors < limit, about)
        scores[f"torsion_below_{limit}_chance"] = _fraction(chance < limit, about.replace("torsion", "random torsion"))
    flexible = [one for one in measured if len(one.torsions)]
    about = f"of {len(flexible)} poses of flexible ligands with all torsion angles within {_TORSION_CLOSE} degrees"
    for name, kind in (("torsions", ""), ("random_torsions", "_chance")):
        all_close = np.array([getattr(one, name).max() < _TORSION_CLOSE for one in flexible])
        scores[f"torsions_all_below_{_TORSION_CLOSE}{kind}"] = _fraction(
            all_close, about.replace("all torsion", "all random torsion") if kind else about
        )
    return scores


def _best_of(deviation: np.ndarray, source: np.ndarray) -> dict[str, Score]:
    """The fraction of complexes for which one of the first five poses is close; {} if any complex has fewer."""
    groups = _by_complex(deviation, source, np.arange(len(source)))
    return {"best_of_5": _best_of_first(groups, "first")} if min(map(len, groups)) >= _TOP else {}


def _ranked(deviation: np.ndarray, nearest: np.ndarray | None, outputs: dict[str, np.ndarray]) -> dict[str, Score]:
    """Scores of each complex's poses, sorted by confidence, highest first.

    top1 requires at least two poses of each complex, and top5 more than five. `nearest` [N, poses] are the RMSDs from
    all true poses, if these are known.
    """
    source, confidence = outputs["source"], outputs["confidence"]
    groups, close = _by_complex(deviation, source, -confidence), deviation < CLOSE
    scores = {
        "confidence_accuracy": _fraction(
            (confidence > 0.5) == close, "of poses whose RMSD is correctly classified as below or above 2 A"
        ),
        "confidence_accuracy_floor": Score(
            max(float(close.mean()), 1.0 - float(close.mean())),
            "confidence_accuracy of one answer for all poses",
        ),
    }
    least = min(map(len, groups))
    if least > 1:
        top = np.array([group[0] for group in groups])
        about = f"of {len(groups)} complexes whose top-ranked pose of at least {least} has an RMSD below"
        scores["top1_below_2"] = _fraction(top < CLOSE, f"{about} 2 A")
        scores["top1_below_5"] = _fraction(top < _NEAR, f"{about} 5 A")
    if least > 1 and nearest is not None:
        top = np.array([group[0] for group in _by_complex(nearest.min(axis=1), source, -confidence)])
        about = f"of {len(groups)} complexes whose top-ranked pose of at least {least} is within 2 A of a true pose"
        scores["top1_known_below_2"] = _fraction(top < CLOSE, about)
    if least > _TOP:
        scores["top5_below_2"] = _best_of_first(groups, "top-ranked")
    return scores


def _best_of_first(groups: list[np.ndarray], which: str) -> Score:
    best = np.array([group[:_TOP].min() for group in groups])
    about = f"of {len(groups)} complexes for which the best of the {which} {_TOP} poses has an RMSD below 2 A"
    return _fraction(best < CLOSE, about)


def _by_complex(values: np.ndarray, source: np.ndarray, order: np.ndarray) -> list[np.ndarray]:
    """The values of each complex, sorted by `order`."""
    index = np.lexsort((order, source))
    return np.split(values[index], np.flatnonzero(np.diff(source[index])) + 1)


def _two_pockets(outputs: dict[str, np.ndarray], truth: dict[str, np.ndarray], nearest: np.ndarray) -> dict[str, Score]:
    """Scores against the known distribution of the synthetic complexes, see `data.pockets`."""
    count = len(nearest)
    chosen = np.where(np.isfinite(nearest).all(axis=1), nearest.argmin(axis=1), -1)
    off = _total_variation(chosen)
    floor = np.sqrt(2.0 * pockets.STRONG * (1.0 - pockets.STRONG) / (np.pi * count))
    scores = {
        "known_below_2": _fraction(nearest.min(axis=1) < CLOSE, f"of {count} poses within 2 A of a true pose"),
        "pocket_tv": Score(
            off, "total variation between the fractions of poses nearer to either pocket and the true probabilities"
        ),
        "pocket_tv_floor": Score(float(floor), f"expected pocket_tv of {count} poses drawn from the true distribution"),
    }
    groups = _by_complex(chosen, outputs["source"], np.arange(count))
    if min(map(len, groups)) > 1:
        each = np.mean([_total_variation(group) for group in groups])
        expected = np.mean([_expected_deviation(len(group)) for group in groups])
        about = f"pocket_tv per complex, averaged over {len(groups)} complexes"
        scores["pocket_tv_each"] = Score(float(each), about)
        scores["pocket_tv_each_floor"] = Score(
            float(expected), "expected pocket_tv_each of poses from the true distribution"
        )
    if "latents" in outputs and (outputs["latents"] >= 0).all():
        named = np.array([_named(pointers, _row(truth, i)) for i, pointers in enumerate(outputs["latents"])])
        scores["pointers_agree"] = _agreement(named, chosen)
    return scores


def _total_variation(chosen: np.ndarray) -> float:
    """The total variation between the distribution of `chosen` and the true probabilities of the pockets.

    `chosen` int [N] is 0 (the strong pocket), 1 (the weak one), or -1 for a pose that is not finite.
    """
    found = np.array([np.mean(chosen == pocket) for pocket in (0, 1, -1)])
    return 0.5 * float(np.abs(found - [pockets.STRONG, 1.0 - pockets.STRONG, 0.0]).sum())


def _agreement(named: np.ndarray, chosen: np.ndarray) -> Score:
    """The fraction of poses whose pocket, `chosen` [N], is predicted by the most informative pointer.

    `named` [N, K] is the pocket nearest to the residue that each pointer selects, or -1 if it selects an atom. A pose
    that is not finite, with -1 in `chosen`, counts as predicted wrongly.

    A pointer may mark the occupied pocket or the free one; these are equally informative, so the better of the two
    interpretations counts. A pointer that always marks the strong pocket carries no information, and scores about
    `pockets.STRONG`.
    """
    known = (named >= 0) & (chosen[:, None] >= 0)
    occupied, free = known & (named == chosen[:, None]), known & (named != chosen[:, None])
    readings = np.array([occupied.mean(axis=0), free.mean(axis=0)])
    reading, pointer = np.unravel_index(readings.argmax(), readings.shape)
    where = f"{'not ' if reading else ''}nearest to the residue that pointer {pointer} selects"
    return Score(float(readings.max()), f"fraction of poses in the pocket that is {where}")


def _expected_deviation(count: int) -> float:
    """The expected distance between the fraction of `count` poses in the strong pocket and its true probability."""
    hits = np.arange(count + 1)
    return float(np.sum(binom.pmf(hits, count, pockets.STRONG) * np.abs(hits / count - pockets.STRONG)))


def _named(pointers: np.ndarray, truth: dict[str, np.ndarray]) -> np.ndarray:
    """The pocket nearest to the residue that each pointer [K] selects; -1 if it selects an atom."""
    exist = truth["atoms"] > 0
    centers = truth["poses"][:, exist].mean(axis=1)
    residues = pointers - len(truth["atoms"])
    distances = np.linalg.norm(centers[:, None] - truth["positions"][np.maximum(residues, 0)], axis=-1)
    return np.where(residues >= 0, distances.argmin(axis=0), -1)


def _fraction(values: Any, about: str) -> Score:
    return Score(float(np.mean(values)), f"fraction {about}")
