#!/usr/bin/env python3
"""Reproduces the results for four options: measured schedules, the matched filter, trained guidance, and latents.

    python launch/options.py --out runs/options               # hours on one core; rerun to resume
    python launch/options.py --out runs/options --only digits,digits_measured --seeds 0

A schedule is measured on a model trained with the cosine schedule; a second model is then trained with the
measured schedule. Each training run uses one core, selected by --core. The scores are written to the folder of the
runs; `--results configs/results` updates the published ones.
"""

from typing import NamedTuple

from study import Model, Study, Table, main, measure_schedule

_STEPS = (5, 10, 40)
_PHOTOS = {"sliced Wasserstein distance": ("swd", 1.0)}
_DIGITS = {"Frechet distance over pixels": ("frechet_pixels", 1.0), "accuracy, %": ("classifier_accuracy", 100.0)}
_FILTER = "--config.diffusion.matched_filter=True"
_WEIGHTED = ("--config.diffusion.head=sigmoid", "--config.diffusion.weight=edm")
_LOSSES = {
    "logistic": ("logistic loss", ("--config.diffusion.loss=logistic",)),
    "weighted": ("squared error of a sigmoid output, EDM weighting", _WEIGHTED),
}
_WEIGHTS = (0.0, 1.0, 1.5, 2.0, 3.0)  # of guidance by self-conditioning; 0 for none


class _Data(NamedTuple):
    """A data set: its description, its scores, and samples per cell."""

    about: str
    scores: dict[str, tuple[str, float]]
    num_samples: int
    steps: tuple[int, ...] = (10, 40, 100)  # number of steps in each column of the matched filter's table


_DATA = {
    "digits": _Data("Digits, 1,000 samples; test images score a Frechet distance of 0.114.", _DIGITS, 1_000),
    "photos": _Data(
        "16 x 16 crops of two photographs, 500 samples.", {"sliced Wasserstein distance": ("swd", 1.0)}, 500
    ),
    "mixture": _Data(
        "Token pairs, 20,000 samples. Total variation to the known distribution: perfect samples score 0.032.",
        {"total variation": ("known_tv", 1.0)},
        20_000,
    ),
}
_SCHEDULED = ("digits", "photos")  # the data whose schedule is measured
_CAPTIONS = _Data(
    "Captions of drawn shapes from linear bits, trained with a lag between positions; 300 test pictures.",
    {"grammatical, %": ("grammatical", 100.0), "true, %": ("true", 100.0)},
    300,
    (20, 40, 100),  # more steps than the lag
)


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


def _filters(name: str, config: str, data: _Data, *losses: str) -> Table:
    models = {}
    for loss in losses:
        title, arguments = _LOSSES[loss]
        cells = _steps(*data.steps, schedule="auto")
        models[f"{name}_{loss}"] = Model(title, config, arguments, (), cells)
        filtered = Model(f"{title}, matched filter", config, (*arguments, _FILTER), (), cells)
        models[f"{name}_{loss}_filter"] = filtered
    return _table(models, data)


def _guidance(title: str, *arguments: str) -> Model:
    cells = {f"weight {weight:g}": ["--steps", "10", "--self_guidance", f"{weight}"] for weight in _WEIGHTS}
    return Model(title, "digits", arguments, (), cells)


def _table(models: dict[str, Model], data: _Data, about: str = "") -> Table:
    return Table(models, f"{data.about} {about}".strip(), data.scores, data.num_samples)


def _pairs() -> dict[str, Model]:
    """Token pairs without latents, with those of the config, and with what else was tried."""
    cells = _steps(5, 10, 40, 100, td=0)
    eight, modulation = "--config.latents.codes=8", "--config.latents.route=modulation"

    def latents(title: str, *arguments: str) -> Model:
        return Model(title, "mixture_disco:disco", arguments, (), cells)

    prior = Model(
        "2 values, generated", "mixture_disco:prior", ("--config.first_run={pairs_two}",), ("pairs_two",), cells
    )
    return {
        "mixture": Model("no latents", "mixture", (), (), cells),
        "pairs_two": latents("2 values, oracle"),
        "pairs_two_prior": prior,
        "pairs_eight": latents("8 values", eight),
        "pairs_weighted": latents("8 values, squared error of a sigmoid output, EDM weighting", eight, *_WEIGHTED),
        "pairs_modulation": latents("8 values, modulation", eight, modulation),
        "pairs_kl_15": latents("8 values, modulation, KL term 0.015", eight, modulation, "--config.latents.kl=0.015"),
        "pairs_kl_50": latents("8 values, modulation, KL term 0.05", eight, modulation, "--config.latents.kl=0.05"),
        "pairs_long": latents("8 values, modulation, 18,000 steps", eight, modulation, "--config.train.steps=18000"),
    }


_BY_SCHEDULE = "Each row is a training schedule, each column a number of steps and a sampling schedule."
STUDY = Study(
    command="python launch/options.py",
    about="Reproduces the results for four options.",
    tables={
        **{f"schedules_{name}": _table(_schedules(name), _DATA[name], _BY_SCHEDULE) for name in _SCHEDULED},
        "matched_filter_digits": _filters("digits", "digits", _DATA["digits"], "weighted"),
        "matched_filter_mixture": _filters("mixture", "mixture", _DATA["mixture"], "logistic", "weighted"),
        "matched_filter_captions": _filters("captions", "shapes:bits", _CAPTIONS, "weighted"),
        "mixture_disco": _table(_pairs(), _DATA["mixture"], "One discrete latent; by default with a KL term of 0.005."),
        "guidance": _table(
            {
                "digits": _guidance("two evaluations per step (the paper)"),
                "digits_trained": _guidance("trained, one evaluation", "--config.diffusion.trained_guidance=4"),
            },
            _DATA["digits"],
            "10 steps; weight 0 is no guidance, with one evaluation per step.",
        ),
    },
    made={f"{name}_levels": measure_schedule(name) for name in _SCHEDULED},
    owner={f"{name}_levels": name for name in _SCHEDULED},
)

if __name__ == "__main__":
    main(STUDY)
