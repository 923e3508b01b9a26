"""Claims about progressive distillation."""

import numpy as np

from bitdiff.claims.claim import Claim, Point, Score, by_steps
from bitdiff.claims.claim_models import FASHION_SAMPLES, STUDENT_STEPS
from bitdiff.claims.claim_scores import JUDGED, KNOWN

_TEACHER_STEPS = (1, 2, 4, 8, 10, 40)


def _distilled(teacher: str, data: str, score: Score, num_samples: int) -> Claim:
    """A claim about the students of a model."""
    return Claim(
        statement=f"On {data}, a distilled model with four steps is better than the original one with ten.",
        paper="not in the papers; for continuous diffusion, Salimans and Ho (2022) report an FID of 3.0 on CIFAR-10 in "
        "four steps.",
        score=score,
        points=(
            *by_steps({"original model": teacher}, _TEACHER_STEPS),
            *by_steps({"original model, DPM-Solver++": teacher}, (4, 8, 10), sampler="dpm++"),
            *(Point("students", steps, f"{teacher}_{steps}", {"steps": steps}) for steps in STUDENT_STEPS),
        ),
        x_label="sampling steps",
        evidence={
            "a student with 4 steps is better than the original model with 10": lambda found: np.log(
                found["original model", 10] / found["students", 4]
            )
        },
        num_samples=num_samples,
        scale="train the original model and its students for longer (config.train.steps).",
    )


DISTILLATION_CLAIMS = {
    "distilled_fashion": _distilled("uint", "Fashion-MNIST", JUDGED, FASHION_SAMPLES),
    "distilled_digits": _distilled("digits", "digits", JUDGED, 1_000),
    "distilled_pairs": _distilled("pairs", "token pairs", KNOWN, 20_000),
}
