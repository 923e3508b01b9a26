#!/usr/bin/env python3
"""Reproduces the results on captions of drawn shapes: trains every model with every seed, and measures it.

    python launch/captions.py --out runs/captions               # a day on one core; the same command resumes
    python launch/captions.py --out runs/captions --only ar,softmax_latents --seeds 0

Each training run uses one core, selected by --core. The scores are written to the folder of the
runs; `--results configs/results` updates the published ones.
"""

import itertools
import json
from pathlib import Path
from typing import NamedTuple

from study import ROOT, Model, Study, Table, main, measure_schedule, run

from bitdiff.figures import plots

_SCORES = {
    "grammatical, %": ("grammatical", 100),
    "true, %": ("true", 100),
    "form distance": ("form_tv", 1),
    "BLEU-4, %": ("BLEU-4", 100),
    "CIDEr": ("CIDEr", 1),
}
_ONE = ("--config.data.captions=1", "--config.data.captions_drawn=1", "--config.data.curriculum_steps=0")
_NO_LAG = ("--config.diffusion.lag=0", "--config.sample.lag=0")
_PICTURES = 300  # of the test split
_BEAMS = 3
_BLOCK_STEPS = (5, 10, 20)
_CHURNED_SIZE = 4  # of the blocks that are sampled with several td and churns
_TEACHER_BEAMS = 8  # more than the captions that are equally good


class _Ingredient(NamedTuple):
    """An ingredient of the recipe for latents: what a model lacks without it, what one has, and how to remove it."""

    replaced: str
    alone: str
    without: tuple[str, ...]


def _steps(*steps: int) -> dict[str, list[str]]:
    """Cells by their number of network evaluations."""
    return {f"{n}": ["--steps", f"{n}", "--td", "2", "--lag", "0"] for n in steps}


def _by_token(*steps: int) -> dict[str, list[str]]:
    return {f"{n} per token": ["--steps", f"{n}", "--td", "0"] for n in steps}


def _plain(title: str, config: str) -> Model:
    return Model(title, config, (*_NO_LAG, "--config.train.steps=2400"), (), _steps(1, 2, 5, 10, 40))


def _distilled(title: str, config: str) -> Model:
    arguments = ("--config.data.distilled={distilled}", *_ONE[1:], *_NO_LAG, "--config.train.steps=2400")
    return Model(title, config, arguments, ("distilled",), _steps(1, 2, 5, 10))


def _prior(title: str, variant: str, first: str) -> Model:
    return Model(title, f"shapes_disco:{variant}", (f"--config.first_run={{{first}}}",), (first,), _steps(1, 2, 5, 10))


def _latents(change: str, arguments: tuple[str, ...]) -> Model:
    return Model(change, "shapes_disco:softmax", arguments, (), _steps(1, 2, 5, 10))


def _ablation() -> dict[str, Model]:
    """The recipe for latents, then without one ingredient, without all of them, and with only one."""
    models = {"full": _latents("all ingredients", ())}
    models |= {f"no_{name}": _latents(one.replaced, one.without) for name, one in _INGREDIENTS.items()}
    models["bare"] = _latents("none of these", _all_without(""))
    models["prior_full"] = _prior("all ingredients, latents from an autoregressive prior", "prior", "full")
    models["prior_bits_full"] = _prior("all ingredients, latents from a Bit Diffusion prior", "prior_bits", "full")
    return models | {f"with_{name}": _latents(one.alone, _all_without(name)) for name, one in _INGREDIENTS.items()}


def _all_without(kept: str) -> tuple[str, ...]:
    removed = [one.without for name, one in _INGREDIENTS.items() if name != kept]
    return tuple(argument for arguments in removed for argument in arguments)


def _blocks(size: int) -> Model:
    arguments = (f"--config.blocks.size={size}", "--config.train.steps=3300")
    cells = {f"{steps} per block": ["--steps", f"{steps}", "--td", "0"] for steps in _BLOCK_STEPS}
    if size == _CHURNED_SIZE:
        for td, churn in ((2, 0.0), (0, 0.2), (0, 0.4), (2, 0.2), (2, 0.4)):
            options = ["--steps", "10", "--td", f"{td}", "--churn_fraction", f"{churn}"]
            cells[f"10 per block, td {td}, churn {churn:g}"] = options
    return Model(f"softmax bits, blocks of {size}", "shapes:blocks", arguments, (), cells)


def _lagged() -> dict[str, list[str]]:
    """Cells of a model trained with lags: its config's options, churn, and a measured schedule."""
    options = ["--steps", "40", "--lag", "16"]
    auto = [*options, "--schedule", "auto"]
    cells = {"td 2": [*auto, "--td", "2"]}
    for td, churn in ((2, 0.1), (2, 0.2), (2, 0.4), (0, 0.2)):
        cells[f"td {td}, churn {churn:g}"] = [*auto, "--td", f"{td}", "--churn_fraction", f"{churn}"]
    return cells | {"td 2, measured schedule": [*options, "--td", "2", "--schedule", "measured"]}


_LENGTH = 13  # tokens per caption; an autoregressive model is evaluated once for each
_AR_CELLS = {f"{_LENGTH} (greedy)": ["--beams", "1"], f"{_LENGTH} ({_BEAMS} beams)": ["--beams", f"{_BEAMS}"]}
_COMPARISON = {
    "softmax_plain": _plain("softmax bits, no latents", "shapes:softmax"),
    "bits_plain": _plain("linear bits, no latents", "shapes:bits"),
    "softmax_distilled": _distilled("softmax bits, distilled", "shapes:softmax"),
    "bits_distilled": _distilled("linear bits, distilled", "shapes:bits"),
    "softmax_latents": Model("softmax bits, oracle latents", "shapes_disco:softmax", (), (), _steps(1, 2, 5, 10)),
    "softmax_prior": _prior("softmax bits, generated latents", "prior", "softmax_latents"),
    "bits_latents": Model("linear bits, oracle latents", "shapes_disco:bits", (), (), _steps(1, 2, 5, 10)),
    "bits_prior": _prior("linear bits, generated latents", "bits_prior", "bits_latents"),
    "blocks": Model("softmax bits, one token at a time", "shapes:blocks", (), (), _by_token(5, 10)),
    "ar": Model("autoregressive, six captions", "shapes:autoregressive", (), (), _AR_CELLS),
    "ar_one": Model("autoregressive, one caption", "shapes:autoregressive", _ONE, (), _AR_CELLS),
}
_INGREDIENTS = {  # what the latents of captions need
    "curriculum": _Ingredient("no curriculum", "only the curriculum", ("--config.data.curriculum_steps=0",)),
    "kl": _Ingredient("no KL term", "only the KL term", ("--config.latents.kl=0",)),
    "modulation": _Ingredient(
        "attention instead of modulation", "only modulation", ("--config.latents.route=attention",)
    ),
    "bag": _Ingredient("an MLP on the bits instead of the bag", "only the bag", ("--config.latents.encoder.kind=mlp",)),
    "five": _Ingredient(
        "one latent of 8 values instead of five of 2",
        "only five binary latents",
        ("--config.latents.count=1", "--config.latents.codes=8"),
    ),
}
_ABLATION = _ablation()
_BLOCKS = {f"blocks_{size}": _blocks(size) for size in (1, 2, 4, 7, 13)}
_LAGGED = {"lagged": Model("softmax bits", "shapes:softmax", (), (), _lagged(), then=("lagged_levels",))}
_IN_FIGURE = {  # the rows of the figure, and their labels
    "autoregressive, six captions": "autoregressive",
    "softmax bits, no latents": "softmax bits, no latents",
    "linear bits, no latents": "linear bits, no latents (the paper)",
    "softmax bits, distilled": "softmax bits, distilled",
    "linear bits, distilled": "linear bits, distilled",
    "softmax bits, generated latents": "softmax bits, generated latents",
    "linear bits, generated latents": "linear bits, generated latents",
}
_DATA = (
    "Captions of drawn shapes; 300 test pictures, each showing a group (count, size, color and shape) never seen in "
    "training. Minutes: CPU time on one core to train the model and those it depends on, excluding sampling from the "
    "teacher."
)
_FORMS = "Form distance: total variation between the frequencies of the six caption forms and the uniform distribution."
_ABOUT = (
    f"{_DATA} Evaluations exclude the prior's five. Tokens per second: one core, batches of 64, three rounds with seed "
    f"0. Oracle latents are inferred from the first caption of each picture, whose form is always the same. {_FORMS}"
)
_ABOUT_ABLATION = f"{_DATA} Latents are inferred from true captions of all six forms, except with a prior. {_FORMS}"


def _distill(out: Path, seed: int) -> Path:
    """The beams of the autoregressive model, as captions to learn from."""
    folder = out / f"distilled_{seed}"
    run("distill", "--workdir", out / f"ar_{seed}", "--beams", _TEACHER_BEAMS, "--batch_size", 1000, "--out", folder)
    return folder


STUDY = Study(
    command="python launch/captions.py",
    about="Reproduces the results on captions of drawn shapes.",
    tables={
        "captions": Table(_COMPARISON, _ABOUT, _SCORES, _PICTURES),
        "captions_ablation": Table(_ABLATION, _ABOUT_ABLATION, _SCORES, _PICTURES),
        "captions_blocks": Table(_BLOCKS, f"{_DATA} {_FORMS}", _SCORES, _PICTURES),
        "captions_lag": Table(_LAGGED, f"{_DATA} 40 steps with lag 16. {_FORMS}", _SCORES, _PICTURES),
    },
    made={"distilled": _distill, "lagged_levels": measure_schedule("lagged")},
    owner={"distilled": "ar", "lagged_levels": "lagged"},
)


def draw_figure(results: Path) -> None:
    """Plots the fraction of captions that are false against network evaluations, and against the size of blocks."""

    def false(row) -> list[float]:
        return [100.0 - value for value in row["scores"]["true, %"]]

    curves: dict[str, dict[float, list[float]]] = {}
    for row in json.loads((results / "captions.json").read_text())["rows"]:
        name = row["name"].split(" (seed")[0]
        if name in _IN_FIGURE:
            label = _IN_FIGURE[name] + (" (3 beams)" if "beams" in row["evaluations"] else "")
            curves.setdefault(label, {})[float(row["evaluations"].split()[0])] = false(row)
    blocks: dict[str, dict[float, list[float]]] = {}
    rows = json.loads((results / "captions_blocks.json").read_text())["rows"]
    for size, same in itertools.groupby(rows, key=lambda row: int(row["name"].split(" (seed")[0].split()[-1])):
        for row, steps in zip(same, _BLOCK_STEPS, strict=False):
            blocks.setdefault(f"{steps} evaluations per block", {})[size] = false(row)
    panels = {"network evaluations per caption": curves, "tokens per block": blocks}
    plots.panels(results / "captions_false.png", panels, y_label="false captions, %")


if __name__ == "__main__":
    main(STUDY)
    draw_figure(ROOT / "configs" / "results")
