#!/usr/bin/env python3
"""Reproduces the results on three options: measured schedules, the matched filter, and trained guidance.

    python launch/options.py --out runs/options               # hours on one core; the same command resumes
    python launch/options.py --out runs/options --only digits,digits_measured --seeds 0

A schedule is measured on a model trained with the cosine schedule; then another is trained with that
schedule. Each training run uses one core, selected by --core. The scores are written to configs/results.
"""

from collections.abc import Callable
from pathlib import Path

from study import Model, Study, Table, main, run

_STEPS = (5, 10, 40)
_DIGITS = {"Frechet distance over pixels": ("frechet_pixels", 1.0), "accuracy, %": ("accuracy", 100.0)}
_SCORES = {
    "digits": _DIGITS,
    "photos": {"sliced Wasserstein distance": ("swd", 1.0)},
    "mixture": {"total variation": ("tv", 1.0)},
}
_DATA = {
    "digits": "Digits, 1,000 samples; test images have a distance of 0.114.",
    "photos": "16 x 16 crops of two photographs, 1,000 samples.",
    "mixture": "Token pairs from a known distribution; 1,000 samples, so the floor is higher than with 20,000.",
}
_LOGISTIC = "--config.diffusion.loss=logistic"
_FILTER = "--config.diffusion.matched_filter=True"
_BOUNDED = "--config.diffusion.head=sigmoid"
_WEIGHTS = (1.0, 1.5, 2.0, 3.0)  # of guidance by self-conditioning


def _measure(name: str) -> Callable[[Path, int], Path]:
    """Returns the function that measures a run's schedule and returns the run's folder."""

    def measure(out: Path, seed: int) -> Path:
        folder = out / f"{name}_{seed}"
        if not (folder / "schedule.json").exists():
            run("schedule", "--workdir", folder)
        return folder

    return measure


def _steps(*steps: int, **options: object) -> dict[str, list[str]]:
    extra = [part for name, value in options.items() for part in (f"--{name}", f"{value}")]
    return {f"{count} steps": ["--steps", f"{count}", *extra] for count in steps}


def _by_schedule() -> dict[str, list[str]]:
    return {
        f"{title}, {name}": cell
        for name, schedule in {"cosine": "auto", "measured": "measured"}.items()
        for title, cell in _steps(*_STEPS, schedule=schedule).items()
    }


def _schedules(name: str) -> dict[str, Model]:
    levels = f"{name}_levels"
    measured = ("--config.diffusion.schedule=measured", f"--config.diffusion.schedule_run={{{levels}}}")
    return {
        name: Model("cosine", name, (), (), _by_schedule(), then=(levels,)),
        f"{name}_measured": Model("measured", name, measured, (levels,), _by_schedule()),
    }


def _filters(name: str) -> dict[str, Model]:
    cells = _steps(10, 40, 100, schedule="auto")
    return {
        f"{name}_logistic": Model("logistic loss", name, (_LOGISTIC,), (), cells),
        f"{name}_logistic_filter": Model("logistic loss, matched filter", name, (_LOGISTIC, _FILTER), (), cells),
        f"{name}_bounded": Model("squared error of a sigmoid", name, (_BOUNDED,), (), cells),
        f"{name}_bounded_filter": Model(
            "squared error of a sigmoid, matched filter", name, (_BOUNDED, _FILTER), (), cells
        ),
    }


def _guidance(title: str, *arguments: str) -> Model:
    cells = {f"weight {weight:g}": ["--steps", "10", "--self_guidance", f"{weight}"] for weight in _WEIGHTS}
    return Model(title, "digits", arguments, (), cells)


STUDY = Study(
    command="python launch/options.py",
    about="Reproduces the measurements of options.",
    tables={
        **{
            f"schedules_{name}": Table(
                _schedules(name),
                f"{about} Each row is a training schedule, each column a number of steps and a sampling schedule.",
                _SCORES[name],
            )
            for name, about in _DATA.items()
        },
        **{
            f"matched_filter_{name}": Table(_filters(name), _DATA[name], _SCORES[name])
            for name in ("digits", "mixture")
        },
        "guidance": Table(
            {
                "digits_two": _guidance("two evaluations per step (the paper)"),
                "digits_trained": _guidance("trained, one evaluation", "--config.diffusion.trained_guidance=4"),
            },
            f"{_DATA['digits']} 10 steps; weight 1 is no guidance.",
            _DIGITS,
        ),
    },
    made={f"{name}_levels": _measure(name) for name in _DATA},
    owner={f"{name}_levels": name for name in _DATA},
)

if __name__ == "__main__":
    main(STUDY, num_samples=1_000)
