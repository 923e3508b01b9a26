"""Verdicts: whether the evidence from several seeds supports a claim."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this scale"
LEAST_SEEDS = 3
_ERRORS = 3.0  # standard errors of the mean


class Verdict(NamedTuple):
    """What one comparison shows: its mean and standard error over the seeds (None for one seed), and the verdict."""

    mean: float
    error: float | None
    verdict: str


RULE = (
    "Each claim is tested by one or more comparisons, which give one number per seed, positive if that seed "
    "supports the claim. A comparison of distances or curvatures is the natural logarithm of their ratio; a comparison "
    "of fractions, or of the best td, is their difference, plus a tolerance where the comparison states one; a "
    "comparison with a threshold is the margin by which it is met. Unless it says otherwise, a comparison is "
    "averaged over all numbers of steps or evaluations (for curvature, all noise levels) at which its lines were "
    "measured. When a line is compared with the best of several, the best is chosen separately for each seed and each "
    "number of steps. A comparison holds if there are at least "
    f"{LEAST_SEEDS} seeds, all support the claim, and the mean is more than {_ERRORS:g} standard errors above 0. It "
    f"does not hold if all contradict the claim and the mean is more than {_ERRORS:g} standard errors below 0. "
    "Otherwise, it is undecided at this scale. A claim holds if all its comparisons hold. It does not hold if the "
    "verdict on any of them is 'does not hold', and is otherwise undecided. With three seeds and no true effect, the "
    "verdict on a comparison is 'holds' about 5% of the time, and 'does not hold' about 5% of the time. Among as many "
    "comparisons as in this report, a few verdicts may therefore be due to chance, and several claims compare the same "
    "trained models."
)


def decide(evidence: np.ndarray) -> Verdict:
    """The verdict on evidence [seeds] by RULE."""
    evidence = np.asarray(evidence, float)
    mean = float(evidence.mean())
    error = float(evidence.std(ddof=1) / np.sqrt(len(evidence))) if len(evidence) > 1 else None
    if error is None or len(evidence) < LEAST_SEEDS or abs(mean) <= _ERRORS * error:
        return Verdict(mean, error, UNDECIDED)
    if (evidence > 0).all():
        return Verdict(mean, error, HOLDS)
    return Verdict(mean, error, FAILS if (evidence < 0).all() else UNDECIDED)


def combine(verdicts: Sequence[Verdict]) -> str:
    """The verdict on a claim by RULE, from those on its comparisons."""
    found = {verdict.verdict for verdict in verdicts}
    if FAILS in found:
        return FAILS
    return HOLDS if found == {HOLDS} else UNDECIDED
