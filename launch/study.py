"""Shared by the scripts that reproduce results: trains models with several seeds, evaluates them, collects scores.

All runs of a study are in one folder, as NAME_SEED. Rerun the same command to resume; finished parts are not repeated.
"""

import argparse
import json
import os
import resource
import shutil
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from bitdiff.runtime.version import current_commit

ROOT = Path(__file__).resolve().parent.parent
_ROUNDS = 3  # of measuring speed
_SPEED = "tokens per second"  # one value per round, not per seed


class Model(NamedTuple):
    """A model: its title in the table, its config, more arguments, and the runs it needs ({NAME}: run NAME's folder).

    cells: arguments of `bitdiff.sweep`, by the title of the cell.
    then: names of artifacts made from the run after training, before it is evaluated.
    judges: runs needed only to evaluate the cells; their training time is not counted.
    """

    title: str
    config: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...]
    cells: dict[str, list[str]]
    then: tuple[str, ...] = ()
    judges: tuple[str, ...] = ()


class Table(NamedTuple):
    """A file of results.

    models: by name; a model in several tables is trained as in the first.
    about: what the numbers are.
    scores: by title, the name of a score and the factor it is multiplied by.
    num_samples: samples per cell.
    """

    models: dict[str, Model]
    about: str
    scores: dict[str, tuple[str, float]]
    num_samples: int


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

    def entries(self, name: str) -> list[tuple[Table, Model]]:
        """A model in each table that contains it."""
        return [(table, table.models[name]) for table in self.tables.values() if name in table.models]

    @property
    def names(self) -> list[str]:
        """The names of all models."""
        return list(dict.fromkeys(name for table in self.tables.values() for name in table.models))


def main(study: Study) -> None:
    """Runs a study's script."""
    parser = argparse.ArgumentParser(description=study.about)
    parser.add_argument("--out", type=Path, default=Path("runs/study"), help="folder of the runs")
    parser.add_argument("--only", default=",".join(study.names), help="models to train, separated by commas")
    parser.add_argument("--seeds", default="0,1,2", help="seeds, separated by commas")
    parser.add_argument("--core", type=int, default=0, help="the CPU core to use")
    parser.add_argument("--collect", action="store_true", help="only collect the scores measured so far")
    parser.add_argument("--speed", action="store_true", help="only measure speed, with the models of the first seed")
    parser.add_argument("--results", type=Path, help="folder of the collected scores; defaults to --out")
    options = parser.parse_args()
    names, seeds = options.only.split(","), [int(seed) for seed in options.seeds.split(",")]
    unknown = [name for name in names if name not in study.names]
    if unknown:
        sys.exit(f"unknown model {unknown[0]!r}; the models are: {', '.join(study.names)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the time spent is recorded
    os.sched_setaffinity(0, {options.core})
    if options.speed:
        _measure_speed(study, options.out, names, seeds[0])
    for seed in seeds if not (options.collect or options.speed) else []:
        done: dict[str, Path] = {}
        for name in names:
            prepare(study, options.out, name, seed, done)
    for table in study.tables:
        collect(study, options.out, table, seeds, options.results or options.out)


def prepare(study: Study, out: Path, name: str, seed: int, done: dict[str, Path]) -> Path:
    """Trains and evaluates a model, after those it depends on; finished parts are not repeated.

    Returns its folder, and adds it to `done`, the folders of the models that this call of the script has finished.
    """
    if name not in done:
        done[name] = _prepare(study, out, name, seed, done)
    return done[name]


def _prepare(study: Study, out: Path, name: str, seed: int, done: dict[str, Path]) -> Path:
    folder = out / f"{name}_{seed}"
    if name in study.made:
        if name in study.owner:
            prepare(study, out, study.owner[name], seed, done)
        return study.made[name](out, seed)
    entries = study.entries(name)
    needed = {other: prepare(study, out, other, seed, done) for _, model in entries for other in model.needs}
    _train(folder, entries[0][1], needed, seed)
    for artifact in dict.fromkeys(artifact for _, model in entries for artifact in model.then):
        study.made[artifact](out, seed)
    needed[name] = folder
    for table, model in entries:
        judges = {other: folder if other == name else prepare(study, out, other, seed, done) for other in model.judges}
        for cell in model.cells.values():
            formatted = [argument.format(**needed | judges) for argument in cell]
            run("sweep", "--workdir", folder, "--num_samples", table.num_samples, *formatted)
    return folder


def _train(folder: Path, model: Model, needed: dict[str, Path], seed: int) -> None:
    """Trains a model, and records its CPU time, the commit, the hardware and the versions in minutes.json."""
    record = folder / "minutes.json"
    spent = json.loads(record.read_text()) if record.exists() else {"minutes": 0.0, "finished": False}
    if spent["finished"]:
        return
    arguments = [argument.format(**needed) for argument in model.arguments]
    common = ["--config.train.sample_every_steps=0", f"--config.seed={seed}"]
    start = _processor_minutes() - spent["minutes"]
    try:
        run("train", "--config", model.config, "--workdir", folder, *arguments, *common)
        spent["finished"] = True
    finally:
        folder.mkdir(parents=True, exist_ok=True)
        spent |= {"minutes": _processor_minutes() - start, "commit": current_commit()}
        spent |= {"hardware": machine(), "versions": versions()}
        record.write_text(json.dumps(spent))


def measure_schedule(name: str) -> Callable[[Path, int], Path]:
    """Returns the function that measures a run's schedule and returns the run's folder."""

    def measure(out: Path, seed: int) -> Path:
        folder = out / f"{name}_{seed}"
        if not (folder / "schedule.json").exists():
            run("schedule", "--workdir", folder)
        return folder

    return measure


def machine() -> str:
    """A description of the hardware, from the environment variable HARDWARE."""
    return os.environ.get("HARDWARE", "CPU")


def versions() -> dict[str, str]:
    """The versions of the packages that affect results most."""
    return {package: version(package) for package in ("jax", "flax")}


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
            for title, cell in study.entries(name)[0][1].cells.items():
                options = [f"--{option}={value}" for option, value in _options(cell).items()]
                run("sweep", "--workdir", copy, "--num_samples", 64, *options)
                scores = _cell(copy, cell)
                assert scores is not None
                if "tokens_per_second" in scores:
                    speeds.setdefault(f"{name}, {title}", []).append(round(scores["tokens_per_second"]))
    if not speeds:
        sys.exit("--speed is for models of tokens")
    (out / "speed.json").write_text(json.dumps(speeds, indent=1) + "\n")


def collect(study: Study, out: Path, name: str, seeds: list[int], results: Path) -> None:
    """Writes a table's scores from all of its runs to the folder of results; writes nothing if there are no runs.

    Seeds of a row that were not measured in these runs keep their scores in an existing file of results.
    """
    table = study.tables[name]
    rows: list[dict[str, Any]] = []
    folders: list[Path] = []
    for model in table.models:
        runs = [out / f"{model}_{seed}" for seed in sorted(seeds)]
        found = [folder for folder in runs if (folder / "sweep.json").exists()]
        rows += [_row(study, out, table, model, title, found) for title in table.models[model].cells]
        folders += found
    if not folders:
        return
    path = results / f"{name}.json"
    published = json.loads(path.read_text()) if path.exists() else {"rows": [], "commit": "", "date": ""}
    own = rows
    rows = _merged(own, published["rows"])
    kept = any(row["seeds"] != before["seeds"] for row, before in zip(rows, own, strict=True))
    measured = sorted({seed for row in rows for seed in row["seeds"]})
    _name_seeds(rows, measured)
    records = [json.loads((folder / "minutes.json").read_text()) for folder in folders]
    commits = {record["commit"] for record in records}
    hardware = {record.get("hardware", machine()) for record in records}
    used = [record.get("versions", versions()) for record in records]
    if kept:
        hardware |= set(published["hardware"].split("; "))
        used += [dict.fromkeys(used[0], "") | published["versions"]]
    dates = [json.loads((folder / "sweep.json").read_text())["provenance"]["date"][:10] for folder in folders]
    report = {
        "about": table.about,
        "command": study.command,
        "commit": ", ".join(sorted(commits | (set(published["commit"].split(", ")) if kept else set()))),
        "date": max([*dates, published["date"]]),
        "hardware": "; ".join(sorted(hardware)),
        "versions": {package: _joined(one[package] for one in used) for package in used[0]},
        "seeds": measured,
        "rows": rows,
    }
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path}")


def _joined(lists: Iterable[str]) -> str:
    """The distinct entries of several comma-separated lists, sorted."""
    return ", ".join(sorted({entry for text in lists for entry in text.split(", ") if entry}))


def _merged(rows: list[dict[str, Any]], published: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows, with the published scores of seeds that these runs lack."""
    known = {(row["name"].split(" (seed")[0], row["evaluations"]): row for row in published if row["seeds"]}
    pairs = ((row, known.get((row["name"], row["evaluations"]))) for row in rows)
    return [row if before is None else _with_seeds_of(row, before) for row, before in pairs]


def _with_seeds_of(row: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    """A row with the seeds that only an earlier version of it has, unless the two have different sets of scores."""
    if not row["seeds"]:
        return before | {"name": row["name"]}
    new, old = ({seed: at for at, seed in enumerate(one["seeds"])} for one in (row, before))
    per_seed = {name for name, values in row["scores"].items() if len(values) == len(new)} - {_SPEED}
    if per_seed != {name for name, values in before["scores"].items() if len(values) == len(old)} - {_SPEED}:
        if lost := sorted(set(old) - set(new)):
            cell = f"{row['name']}, {row['evaluations']}"
            print(f"{cell}: the published results of seeds {lost} have a different set of scores and are dropped")
        return row

    def values(name: str) -> list[float]:
        return [row["scores"][name][new[s]] if s in new else before["scores"][name][old[s]] for s in seeds]

    seeds = sorted(new | old)
    scores = {name: values(name) for name in row["scores"] if name in per_seed}
    speeds = {_SPEED: speed} if (speed := row["scores"].get(_SPEED, before["scores"].get(_SPEED))) else {}
    kept = len(seeds) - len(new)
    minutes = (float(row["minutes"]) * len(new) + float(before["minutes"]) * kept) / len(seeds)
    return row | {"scores": scores | speeds, "seeds": seeds, "minutes": f"{minutes:.0f}"}


def _name_seeds(rows: list[dict[str, Any]], expected: list[int]) -> None:
    """Appends the seeds to the name of each model that was measured with only some of the expected seeds."""
    for name in dict.fromkeys(row["name"] for row in rows):
        same = [row for row in rows if row["name"] == name]
        seeds = sorted({seed for row in same for seed in row["seeds"]})
        if seeds and seeds != expected:
            plural = "s" if len(seeds) > 1 else ""
            for row in same:
                row["name"] = f"{name} (seed{plural} {', '.join(map(str, seeds))})"


def _row(study: Study, out: Path, table: Table, name: str, title: str, folders: list[Path]) -> dict[str, Any]:
    """The scores of a cell over the runs in which it was measured, and the mean time that all runs took to train."""
    model = table.models[name]
    measured = [(folder, cell) for folder in folders if (cell := _cell(folder, model.cells[title])) is not None]
    trained = [folder.name.rpartition("_")[2] for folder in folders]
    counted = dict.fromkeys(study.owner.get(needed, needed) for needed in (name, *model.needs))
    minutes = [sum(_minutes(study, out, needed, seed) for needed in counted) for seed in trained]
    scores = {
        label: [round(cell[key] * factor, 3) for _, cell in measured if key in cell]
        for label, (key, factor) in table.scores.items()
    }
    if measured:  # a score that is not defined for the samples is left out
        scores = {label: values for label, values in scores.items() if values}
    speed = out / "speed.json"
    speeds = json.loads(speed.read_text()).get(f"{name}, {title}") if speed.exists() else None
    scores |= {_SPEED: speeds} if speeds else {}
    row = {"name": model.title, "evaluations": title, "scores": scores}
    row["seeds"] = sorted(int(folder.name.rpartition("_")[2]) for folder, _ in measured)
    return row | {"minutes": f"{statistics.mean(minutes):.0f}" if minutes else "not yet run"}


def _minutes(study: Study, out: Path, name: str, seed: str) -> float:
    if name in study.made:
        return 0.0
    path = out / f"{name}_{seed}" / "minutes.json"
    return json.loads(path.read_text())["minutes"]


def _cell(folder: Path, arguments: list[str]) -> dict[str, float] | None:
    """The scores of a sweep's cell with the given options, or None if it was not measured."""
    wanted = {"churn_fraction": 0.0} | {name: _plain(value) for name, value in _options(arguments).items()}
    for name, scores in json.loads((folder / "sweep.json").read_text())["cells"].items():
        options = json.loads(name)
        if all(options.get(option) == value for option, value in wanted.items()):
            return scores
    return None


def _options(arguments: list[str]) -> dict[str, str]:
    """The sampling options among the arguments of a cell."""
    given = {name.removeprefix("--"): value for name, value in zip(arguments[::2], arguments[1::2], strict=True)}
    return {name: value for name, value in given.items() if name != "baseline"}


def _plain(value: str) -> float | str:
    """The value as a number if it is one; otherwise, the string unchanged."""
    try:
        return float(value)
    except ValueError:
        return value
