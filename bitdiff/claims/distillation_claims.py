"""Claims about progressive distillation."""

import numpy as np

from bitdiff.claims.claim import Claim, Point, Score, by_steps
from bitdiff.claims.claim_models import STUDENT_STEPS
from bitdiff.claims.claim_scores import JUDGED, KNOWN

_TEACHER_STEPS = (1, 2, 4, 8, 10, 40)


def _distilled(teacher: str, data: str, score: Score, num_samples: int) -> Claim:
    """A claim about the students of a model."""
    return Claim(
        statement=f"With progressive distillation, four steps are better than the teacher's ten on {data}.",
        paper="none in the papers; Salimans and Ho 2022 reach an FID of 3.0 on CIFAR-10 in four steps.",
        score=score,
        points=(
            *by_steps({"teacher": teacher}, _TEACHER_STEPS),
            *by_steps({"teacher, DPM-Solver++": teacher}, (4, 8, 10), sampler="dpm++"),
            *(Point("students", steps, f"{teacher}_{steps}", {"steps": steps}) for steps in STUDENT_STEPS),
        ),
        x_label="sampling steps",
        evidence={
            "a student's 4 steps are better than the teacher's 10": lambda found: np.log(
                found["teacher", 10] / found["students", 4]
            )
        },
        num_samples=num_samples,
        scale="Longer training of the students: config.train.steps.",
    )


DISTILLATION_CLAIMS = {
    "distilled_fashion": _distilled("uint", "Fashion-MNIST", JUDGED, 1_000),
    "distilled_digits": _distilled("digits", "digits", JUDGED, 1_000),
    "distilled_pairs": _distilled("pairs", "token pairs", KNOWN, 20_000),
}
