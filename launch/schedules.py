#!/usr/bin/env python3
"""Reproduces the comparison of the cosine schedule with measured ones, on digits, photographs and token pairs.

    python launch/schedules.py --out runs/schedules               # an hour on two cores; the same command resumes
    python launch/schedules.py --out runs/schedules --only digits_measured --seeds 0

A schedule is measured on a model trained with the cosine schedule; then another model is trained with it. Every
training uses one core, which --core selects. The scores are written to configs/results.
"""

from collections.abc import Callable
from pathlib import Path

from study import Model, Study, Table, main, run

_STEPS = (5, 10, 40)
_SCORES = {
    "digits": {"Frechet distance over pixels": ("frechet_pixels", 1.0), "accuracy, %": ("accuracy", 100.0)},
    "photos": {"sliced Wasserstein distance": ("swd", 1.0)},
    "mixture": {"total variation": ("tv", 1.0)},
}
_DATA = {
    "digits": "Digits, 1,000 samples; test images have a distance of 0.114.",
    "photos": "16 x 16 crops of two photographs, 1,000 samples.",
    "mixture": "Token pairs from a known distribution, 1,000 samples, with a higher floor than 20,000 have.",
}


def _measure(name: str) -> Callable[[Path, int], Path]:
    """The schedule of a run trained with the cosine schedule, in its folder."""

    def measure(out: Path, seed: int) -> Path:
        folder = out / f"{name}_{seed}"
        if not (folder / "schedule.json").exists():
            run("schedule", "--workdir", folder)
        return folder

    return measure


def _cells(*schedules: str) -> dict[str, list[str]]:
    return {
        f"{steps} steps, {schedule}": ["--steps", f"{steps}", "--schedule", {"cosine": "auto"}.get(schedule, schedule)]
        for steps in _STEPS
        for schedule in schedules
    }


def _models(name: str) -> dict[str, Model]:
    levels = f"{name}_levels"
    measured = ("--config.diffusion.schedule=measured", f"--config.diffusion.schedule_run={{{levels}}}")
    cells = _cells("cosine", "measured")
    return {
        name: Model("cosine", name, (), (), cells, then=(levels,)),
        f"{name}_measured": Model("measured", name, measured, (levels,), cells),
    }


STUDY = Study(
    command="python launch/schedules.py",
    about="Reproduces the comparison of the cosine schedule with measured ones.",
    tables={
        f"schedules_{name}": Table(
            _models(name),
            f"{about} Each row is a training schedule, each column a number of steps and a sampling schedule.",
            _SCORES[name],
        )
        for name, about in _DATA.items()
    },
    made={f"{name}_levels": _measure(name) for name in _DATA},
    owner={f"{name}_levels": name for name in _DATA},
)

if __name__ == "__main__":
    main(STUDY, num_samples=1_000)
