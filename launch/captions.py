#!/usr/bin/env python3
"""Reproduces the results on captions of drawn shapes: trains every model with every seed, and measures it.

    python launch/captions.py --out runs/captions               # hours on two cores; the same command resumes
    python launch/captions.py --out runs/captions --only ar,latents --seeds 0

Every training uses one core, which --core selects. The scores are written to configs/results.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "configs" / "results"
SCORES = {
    "grammatical, %": ("grammatical", 100),
    "true, %": ("true", 100),
    "form distance": ("form_tv", 1),
    "BLEU-4, %": ("BLEU-4", 100),
    "CIDEr": ("CIDEr", 1),
}
_ONE = ("--config.data.captions=1", "--config.data.captions_drawn=1", "--config.data.curriculum_steps=0")
_NO_LAG = ("--config.diffusion.lag=0", "--config.sample.lag=0")
_BEAMS = 3
_ROUNDS = 3  # of measuring speed
_TEACHER_BEAMS = 8  # more than the captions that are equally good


class Model(NamedTuple):
    """A model: its name in the table, its config, further arguments, and the runs it needs; {NAME} is their folder.

    cells: arguments of `bitdiff.sweep`, by what distinguishes the cell in the table.
    """

    title: str
    config: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    cells: dict[str, list[str]]


def _steps(*steps: int, td: float = 2.0, blocks: int = 1) -> dict[str, list[str]]:
    """Cells by their number of network evaluations, which for blocks is that of all blocks."""
    return {f"{n * blocks}": ["--steps", f"{n}", "--td", f"{td}", "--lag", "0"] for n in steps}


def _distilled(title: str, config: str) -> Model:
    arguments = ("--config.data.distilled={distilled}", *_ONE[1:], *_NO_LAG, "--config.train.steps=2400")
    return Model(title, config, arguments, ("distilled",), _steps(1, 2, 5, 10))


def _prior(title: str, variant: str, first: str) -> Model:
    return Model(title, f"shapes_disco:{variant}", (f"--config.first_run={{{first}}}",), (first,), _steps(1, 2, 5, 10))


def _ablation(change: str, *arguments: str) -> Model:
    return Model(f"oracle latents, {change}", "shapes_disco:softmax", arguments, (), _steps(1, 2, 5, 10))


def _blocks(size: int) -> Model:
    arguments = (f"--config.blocks.size={size}",)
    cells = {steps: [*cell[:4]] for steps, cell in _steps(5, 10, 20, td=0.0, blocks=-(-_LENGTH // size)).items()}
    return Model(f"softmax bits, blocks of {size}", "shapes:blocks", arguments, (), cells)


_LENGTH = 13  # tokens of a caption, which are an autoregressive model's evaluations
_AR_CELLS = {f"{_LENGTH} (greedy)": ["--beams", "1"], f"{_LENGTH} ({_BEAMS} beams)": ["--beams", f"{_BEAMS}"]}
_COMPARISON = {
    "ar": Model("autoregressive, six captions", "shapes:autoregressive", (), (), _AR_CELLS),
    "ar_one": Model("autoregressive, one caption", "shapes:autoregressive", _ONE, (), _AR_CELLS),
    "softmax_plain": Model(
        "softmax bits, no latents", "shapes:softmax", (*_NO_LAG, "--config.train.steps=2400"), (), _steps(1, 2, 5, 10)
    ),
    "bits_plain": Model(
        "linear bits, no latents", "shapes:bits", (*_NO_LAG, "--config.train.steps=2400"), (), _steps(1, 2, 5, 10)
    ),
    "softmax_distilled": _distilled("softmax bits, distilled", "shapes:softmax"),
    "bits_distilled": _distilled("linear bits, distilled", "shapes:bits"),
    "softmax_latents": Model("softmax bits, oracle latents", "shapes_disco:softmax", (), (), _steps(1, 2, 5, 10)),
    "softmax_prior": _prior("softmax bits, generated latents", "prior", "softmax_latents"),
    "bits_latents": Model("linear bits, oracle latents", "shapes_disco:bits", (), (), _steps(1, 2, 5, 10)),
    "bits_prior": _prior("linear bits, generated latents", "bits_prior", "bits_latents"),
}
_ABLATION = {
    "no_curriculum": _ablation("no curriculum", "--config.data.curriculum_steps=0"),
    "no_kl": _ablation("no divergence", "--config.latents.kl=0"),
    "attention": _ablation("attention instead of modulation", "--config.latents.route=attention"),
    "mlp": _ablation("an MLP on the bits instead of the bag", "--config.latents.encoder.kind=mlp"),
    "one_latent": _ablation(
        "one latent of 8 values instead of five of 2", "--config.latents.count=1", "--config.latents.codes=8"
    ),
}
_BLOCKS = {f"blocks_{size}": _blocks(size) for size in (1, 2, 4, 7, 13)}
TABLES = {"captions": _COMPARISON, "captions_ablation": _ABLATION, "captions_blocks": _BLOCKS}
MODELS = {name: model for models in TABLES.values() for name, model in models.items()}


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Reproduces the results on captions of drawn shapes.")
    parser.add_argument("--out", type=Path, default=Path("runs/captions"), help="folder of the runs")
    parser.add_argument("--only", default=",".join(MODELS), help="models to train, separated by commas")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--core", type=int, default=0, help="the processor core to use")
    parser.add_argument("--num_samples", type=int, default=300, help="test pictures to describe")
    parser.add_argument("--collect", action="store_true", help="only collect the scores of what was measured")
    parser.add_argument("--speed", action="store_true", help="only measure speeds, of the first seed's models")
    options = parser.parse_args()
    names, seeds = options.only.split(","), [int(seed) for seed in options.seeds.split(",")]
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        sys.exit(f"unknown model {unknown[0]!r}; the models are: {', '.join(MODELS)}")
    os.sched_setaffinity(0, {options.core})
    if options.speed:
        _measure_speed(options.out, names, seeds[0])
    for seed in seeds if not (options.collect or options.speed) else []:
        for name in names:
            _prepare(options.out, name, seed, options.num_samples)
    for table in TABLES:
        _collect(options.out, table, seeds, options.num_samples)


def _prepare(out: Path, name: str, seed: int, num_samples: int) -> Path:
    """Trains and measures a model, after those it needs; what is done already is not repeated."""
    folder = out / f"{name}_{seed}"
    if name == "distilled":
        teacher = _prepare(out, "ar", seed, num_samples)
        _run("distill", "--workdir", teacher, "--beams", _TEACHER_BEAMS, "--batch_size", 1000, "--out", folder)
        return folder
    model = MODELS[name]
    needed = {other: _prepare(out, other, seed, num_samples) for other in model.needs}
    arguments = [argument.format(**needed) for argument in model.arguments]
    record = folder / "minutes.json"
    spent = json.loads(record.read_text()) if record.exists() else {"minutes": 0.0, "finished": False}
    if not spent["finished"]:
        common = ["--config.train.sample_every_steps=0", f"--config.seed={seed}"]
        start = _processor_minutes() - spent["minutes"]
        try:
            _run("train", "--config", model.config, "--workdir", folder, *arguments, *common)
            spent["finished"] = True
        finally:
            folder.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps(spent | {"minutes": _processor_minutes() - start}))
    for cell in model.cells.values():
        _run("sweep", "--workdir", folder, "--num_samples", num_samples, *cell)
    return folder


def _processor_minutes() -> float:
    """The processor time of all commands so far, which other programs on the machine hardly change."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) / 60.0


def _run(command: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", f"bitdiff.{command}", *map(str, arguments)], cwd=ROOT, check=True)


def _measure_speed(out: Path, names: list[str], seed: int) -> None:
    """Measures tokens per second in rounds over all models, with nothing else running, and writes speed.json."""
    speeds: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        for name in names:
            folder, copy = out / f"{name}_{seed}", out / "speed" / name
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("sweep*", "samples*"))
            for title, cell in MODELS[name].cells.items():
                _run("sweep", "--workdir", copy, "--num_samples", 64, *cell)
                scores = _cell(copy, cell)
                assert scores is not None
                speeds.setdefault(f"{name}, {title}", []).append(round(scores["tokens_per_second"]))
    (out / "speed.json").write_text(json.dumps(speeds, indent=1) + "\n")


def _collect(out: Path, table: str, seeds: list[int], num_samples: int) -> None:
    """Writes the scores of all runs in the folder that belong in a table to configs/results."""
    rows = []
    for name, model in TABLES[table].items():
        found = [folder for seed in seeds if (folder := out / f"{name}_{seed}").joinpath("sweep.json").exists()]
        rows += [_row(out, name, title, arguments, found) for title, arguments in model.cells.items()]
    report = {
        "about": f"Captions of drawn shapes; {num_samples} test pictures, each with a kind of group never seen in "
        "training. Minutes of one core's time for training, including the models that are needed first, but not the "
        "teacher's sampling. Tokens per second: one core, batches of 64, rounds instead of seeds. Form distance: total "
        "variation between the frequencies of the six forms of caption and equal ones.",
        "command": "python launch/captions.py",
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True
        ).stdout.strip(),
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": os.environ.get("HARDWARE", "CPU"),
        "versions": {name: version(name) for name in ("jax", "flax")},
        "seeds": seeds,
        "rows": rows,
    }
    path = RESULTS / f"{table}.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path}")


def _row(out: Path, name: str, title: str, arguments: list[str], folders: list[Path]) -> dict[str, object]:
    """The scores of a cell over the runs in which it was measured, and what these runs took to train."""
    model = MODELS[name]
    measured = [(folder, cell) for folder in folders if (cell := _cell(folder, arguments)) is not None]
    seeds = [folder.name.rpartition("_")[2] for folder, _ in measured]
    minutes = [sum(_minutes(out, needed, seed) for needed in (name, *model.needs)) for seed in seeds]
    scores = {
        label: [round(cell[key] * factor, 3) for _, cell in measured if key in cell]
        for label, (key, factor) in SCORES.items()
    }
    speed = out / "speed.json"
    scores["tokens per second"] = json.loads(speed.read_text()).get(f"{name}, {title}", []) if speed.exists() else []
    row = {"name": model.title, "evaluations": title, "seeds": ", ".join(seeds), "scores": scores}
    return row | {"minutes": f"{statistics.mean(minutes):.0f}" if minutes else "not yet run"}


def _minutes(out: Path, name: str, seed: str) -> float:
    path = out / f"{'ar' if name == 'distilled' else name}_{seed}" / "minutes.json"
    return json.loads(path.read_text())["minutes"]


def _cell(folder: Path, arguments: list[str]) -> dict[str, float] | None:
    """The scores of a sweep's cell with the given options, or None if it was not measured."""
    wanted = {"churn_fraction": 0.0} | {
        name.removeprefix("--"): float(value) for name, value in zip(arguments[::2], arguments[1::2], strict=True)
    }
    for name, scores in json.loads((folder / "sweep.json").read_text())["cells"].items():
        options = json.loads(name)
        if all(options[option] == value for option, value in wanted.items()):
            return scores
    return None


if __name__ == "__main__":
    main()
