"""Verdicts: whether the evidence from several seeds supports a claim."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this scale"
_LEAST_SEEDS = 3
_ERRORS = 3.0  # standard errors of the mean


class Verdict(NamedTuple):
    """What one kind of evidence shows: its mean and standard error over the seeds, and the verdict."""

    mean: float
    error: float
    verdict: str


RULE = (
    "Evidence is one number per seed, positive if that seed supports the claim. A claim holds if, for each kind of "
    f"evidence, all of at least {_LEAST_SEEDS} seeds support it and the mean is more than {_ERRORS:g} standard errors "
    f"above 0. It does not hold if, for any kind of evidence, all of at least {_LEAST_SEEDS} seeds contradict it and "
    f"the mean is more than {_ERRORS:g} standard errors below 0. Otherwise, it is undecided at this scale. With three "
    "seeds, pure noise is called 'holds' or 'does not hold' for one kind of evidence about 10% of the time. Where "
    "evidence compares two scores by their ratio, it is the natural logarithm of the ratio; a bound on an improvement "
    "is a fraction."
)


def decide(evidence: np.ndarray) -> Verdict:
    """The verdict on evidence [seeds] by RULE."""
    evidence = np.asarray(evidence, float)
    mean = float(evidence.mean())
    error = float(evidence.std(ddof=1) / np.sqrt(len(evidence))) if len(evidence) > 1 else float("nan")
    if len(evidence) < _LEAST_SEEDS or abs(mean) <= _ERRORS * error:
        return Verdict(mean, error, UNDECIDED)
    if (evidence > 0).all():
        return Verdict(mean, error, HOLDS)
    return Verdict(mean, error, FAILS if (evidence < 0).all() else UNDECIDED)


def combine(verdicts: Sequence[Verdict]) -> str:
    """The verdict on a claim by RULE, from those on each kind of evidence."""
    found = {verdict.verdict for verdict in verdicts}
    if FAILS in found:
        return FAILS
    return HOLDS if found == {HOLDS} else UNDECIDED
