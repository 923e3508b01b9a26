"""Shared by the scripts that reproduce results: trains models with several seeds, evaluates them, collects scores.

All runs of a study are in one folder, as NAME_SEED. The same command resumes; finished parts are not repeated.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "configs" / "results"
_ROUNDS = 3  # of measuring speed


class Model(NamedTuple):
    """A model: its name in the table, its config, further arguments, and the runs it needs; {NAME} is their folder.

    cells: arguments of `bitdiff.sweep`, by what distinguishes the cell in the table.
    then: names of artifacts made from the run after training, before it is evaluated.
    """

    title: str
    config: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    cells: dict[str, list[str]]
    then: tuple[str, ...] = ()


class Table(NamedTuple):
    """A file of results.

    models: by name.
    about: what the numbers are.
    scores: the name of a score and the factor it is multiplied by, by its title.
    """

    models: dict[str, Model]
    about: str
    scores: dict[str, tuple[str, float]]


class Study(NamedTuple):
    """A script's models.

    command: the command that reproduces the results.
    about: what the script does.
    tables: by the name of their file.
    made: artifacts that models need, by name: (folder of the runs, seed) -> the artifact's path.
    owner: by artifact, the model it is made from, whose training time is counted.
    """

    command: str
    about: str
    tables: dict[str, Table]
    made: dict[str, Callable[[Path, int], Path]]
    owner: dict[str, str]

    @property
    def models(self) -> dict[str, Model]:
        """All models by name."""
        return {name: model for table in self.tables.values() for name, model in table.models.items()}


def main(study: Study, *, num_samples: int) -> None:
    """Runs a study's script; `num_samples` is the default number of samples per cell."""
    models = study.models
    parser = argparse.ArgumentParser(description=study.about)
    parser.add_argument("--out", type=Path, default=Path("runs/study"), help="folder of the runs")
    parser.add_argument("--only", default=",".join(models), help="models to train, separated by commas")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--core", type=int, default=0, help="the processor core to use")
    parser.add_argument("--num_samples", type=int, default=num_samples, help="samples per cell")
    parser.add_argument("--collect", action="store_true", help="only collect the scores of what was measured")
    parser.add_argument("--speed", action="store_true", help="only measure speeds, of the first seed's models")
    options = parser.parse_args()
    names, seeds = options.only.split(","), [int(seed) for seed in options.seeds.split(",")]
    unknown = [name for name in names if name not in models]
    if unknown:
        sys.exit(f"unknown model {unknown[0]!r}; the models are: {', '.join(models)}")
    os.sched_setaffinity(0, {options.core})
    if options.speed:
        _measure_speed(study, options.out, names, seeds[0])
    for seed in seeds if not (options.collect or options.speed) else []:
        for name in names:
            prepare(study, options.out, name, seed, options.num_samples)
    for table in study.tables:
        collect(study, options.out, table, seeds)


def prepare(study: Study, out: Path, name: str, seed: int, num_samples: int) -> Path:
    """Trains and evaluates a model, after those it depends on; finished parts are not repeated."""
    folder = out / f"{name}_{seed}"
    if name in study.made:
        if name in study.owner:
            prepare(study, out, study.owner[name], seed, num_samples)
        return study.made[name](out, seed)
    model = study.models[name]
    needed = {other: prepare(study, out, other, seed, num_samples) for other in model.needs}
    arguments = [argument.format(**needed) for argument in model.arguments]
    record = folder / "minutes.json"
    spent = json.loads(record.read_text()) if record.exists() else {"minutes": 0.0, "finished": False}
    if not spent["finished"]:
        common = ["--config.train.sample_every_steps=0", f"--config.seed={seed}"]
        start = _processor_minutes() - spent["minutes"]
        try:
            run("train", "--config", model.config, "--workdir", folder, *arguments, *common)
            spent["finished"] = True
        finally:
            folder.mkdir(parents=True, exist_ok=True)
            record.write_text(json.dumps(spent | {"minutes": _processor_minutes() - start}))
    for other in model.then:
        study.made[other](out, seed)
    for cell in model.cells.values():
        formatted = [argument.format(**needed, **{name: folder}) for argument in cell]
        run("sweep", "--workdir", folder, "--num_samples", num_samples, *formatted)
    return folder


def run(command: str, *arguments: object) -> None:
    """Runs a command of bitdiff."""
    subprocess.run([sys.executable, "-m", f"bitdiff.{command}", *map(str, arguments)], cwd=ROOT, check=True)


def _processor_minutes() -> float:
    """CPU minutes of all commands so far; unlike wall-clock time, they hardly depend on other programs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (usage.ru_utime + usage.ru_stime) / 60.0


def _measure_speed(study: Study, out: Path, names: list[str], seed: int) -> None:
    """Measures tokens per second in rounds over all models, with nothing else running, and writes speed.json."""
    speeds: dict[str, list[float]] = {}
    for _ in range(_ROUNDS):
        for name in names:
            folder, copy = out / f"{name}_{seed}", out / "speed" / name
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns("sweep*", "samples*"))
            for title, cell in study.models[name].cells.items():
                options = [f"--{option}={value}" for option, value in _options(cell).items()]
                run("sweep", "--workdir", copy, "--num_samples", 64, *options)
                scores = _cell(copy, cell)
                assert scores is not None
                speeds.setdefault(f"{name}, {title}", []).append(round(scores["tokens_per_second"]))
    (out / "speed.json").write_text(json.dumps(speeds, indent=1) + "\n")


def collect(study: Study, out: Path, table: str, seeds: list[int]) -> None:
    """Writes the scores of all runs in the folder that belong in a table to configs/results."""
    rows = []
    for name, model in study.tables[table].models.items():
        found = [folder for seed in seeds if (folder := out / f"{name}_{seed}").joinpath("sweep.json").exists()]
        rows += [_row(study, out, table, name, title, found) for title in model.cells]
    report = {
        "about": study.tables[table].about,
        "command": study.command,
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


def _row(study: Study, out: Path, table: str, name: str, title: str, folders: list[Path]) -> dict[str, object]:
    """The scores of a cell over the runs in which it was measured, and the mean time that all runs took to train."""
    model = study.models[name]
    measured = [(folder, cell) for folder in folders if (cell := _cell(folder, model.cells[title])) is not None]
    seeds = [folder.name.rpartition("_")[2] for folder, _ in measured]
    trained = [folder.name.rpartition("_")[2] for folder in folders]
    minutes = [sum(_minutes(study, out, needed, seed) for needed in (name, *model.needs)) for seed in trained]
    scores = {
        label: [round(cell[key] * factor, 3) for _, cell in measured if key in cell]
        for label, (key, factor) in study.tables[table].scores.items()
    }
    speed = out / "speed.json"
    speeds = json.loads(speed.read_text()).get(f"{name}, {title}") if speed.exists() else None
    scores |= {"tokens per second": speeds} if speeds else {}
    row = {"name": model.title, "evaluations": title, "seeds": ", ".join(seeds), "scores": scores}
    return row | {"minutes": f"{statistics.mean(minutes):.0f}" if minutes else "not yet run"}


def _minutes(study: Study, out: Path, name: str, seed: str) -> float:
    if name in study.made and name not in study.owner:
        return 0.0
    path = out / f"{study.owner.get(name, name)}_{seed}" / "minutes.json"
    return json.loads(path.read_text())["minutes"]


def _cell(folder: Path, arguments: list[str]) -> dict[str, float] | None:
    """The scores of a sweep's cell with the given options, or None if it was not measured."""
    wanted = {"churn_fraction": 0.0} | {name: _plain(value) for name, value in _options(arguments).items()}
    for name, scores in json.loads((folder / "sweep.json").read_text())["cells"].items():
        options = json.loads(name)
        if all(options[option] == value for option, value in wanted.items()):
            return scores
    return None


def _options(arguments: list[str]) -> dict[str, str]:
    """The sampling options among the arguments of a cell."""
    given = {name.removeprefix("--"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}
    return {name: value for name, value in given.items() if name != "baseline"}


def _plain(value: str) -> float | str:
    """A number, or a name as it is."""
    try:
        return float(value)
    except ValueError:
        return value
