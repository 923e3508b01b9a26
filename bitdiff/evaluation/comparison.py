"""Sweeps of several runs side by side.

Runs whose configs differ only in the seed form one row, with their mean and standard deviation. A row is named after
the fields in which its config differs from that of the first run; a column is a cell of the sweeps.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdiff.evaluation.sweep_cells import SWEEP_FILE, comparable, options_of, read_sweep
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import SampleOptions
from bitdiff.training import workdir


class Swept(NamedTuple):
    """A run's folder, the config fields that affect training, what was swept, and the scores of each cell."""

    folder: str
    config: dict[str, Any]
    measured_on: dict[str, Any]
    cells: dict[SampleOptions, dict[str, float]]


def read(folder: Path) -> Swept:
    """Reads the config and the sweep in a workdir.

    Raises:
      UsageError: it holds no run or no sweep.
    """
    trained = workdir.load_config(folder)
    config = workdir.trained_fields(trained)
    if trained.get("encoder"):
        config["encoder.weights"] = trained.encoder.weights  # may differ when a run is resumed, but matters here
    report = read_sweep(folder / SWEEP_FILE)
    cells = {options_of(name): scores for name, scores in report["cells"].items()}
    measured_on = comparable(report["provenance"])
    config["train.steps"] = measured_on.pop("step", None)  # the swept checkpoint's
    for name in ("latents", "labels"):  # they follow from the configs
        measured_on.pop(name, None)
    prior = measured_on.pop("prior", None) or {}
    config |= {f"prior.sample.{name}": value for name, value in prior.get("sample", {}).items()}
    return Swept(str(folder), config, measured_on, cells)


def group(runs: Iterable[Swept]) -> dict[str, list[Swept]]:
    """Groups runs by the name of their row; the runs of a row differ only in the seed.

    Raises:
      UsageError: two runs have the same config and seed, or sweeps were measured on different data or samples.
    """
    rows: dict[str, list[Swept]] = {}
    first: Swept | None = None
    for run in runs:
        first = first or run
        differing = [name for name in first.measured_on if run.measured_on.get(name) != first.measured_on[name]]
        if differing:
            name = differing[0]
            raise UsageError(
                f"the sweeps of {first.folder} and {run.folder} are not comparable: their {name} is "
                f"{first.measured_on[name]!r} and {run.measured_on.get(name)!r}"
            )
        config, base = (
            {k: v for k, v in c.items() if k.removeprefix("first.") != "seed"} for c in (run.config, first.config)
        )
        if run.config.get("task") != first.config.get("task"):
            # Only one of them has a first stage; the other fields describe the difference.
            of_first_stage = ("first", "prior.sample")
            config, base = (
                {k: v for k, v in config.items() if not k.startswith(of_first_stage)} for config in (config, base)
            )
        changes = [f"{name}={config.get(name)}" for name in sorted(config | base) if config.get(name) != base.get(name)]
        row = rows.setdefault(", ".join(changes) or "as configured", [])
        duplicates = [other.folder for other in row if other.config.get("seed") == run.config.get("seed")]
        if duplicates:
            raise UsageError(
                f"{duplicates[0]} and {run.folder} are the same run with the seed {run.config.get('seed')}"
            )
        row.append(run)
    return rows


def markdown(rows: dict[str, list[Swept]], score: str) -> str:
    """A table of one score over the cells that all runs of a row have: mean and, for several runs, standard deviation.

    A cell is empty if a row's sweeps lack it; an autoregressive model, for example, takes no steps.

    Raises:
      UsageError: the runs of a row have no cell in common, or a cell lacks the score.
    """
    common = {name: set.intersection(*(set(run.cells) for run in members)) for name, members in rows.items()}
    lacking = [name for name, shared in common.items() if not shared]
    if lacking:
        raise UsageError(f"the sweeps of row {lacking[0]!r} have no cell in common; sweep them with the same options")
    cells = sorted(set.union(*common.values()))
    for name, members in rows.items():
        for cell in common[name]:
            if any(score not in run.cells[cell] for run in members):
                raise UsageError(f"there is no score {score!r}; valid names are: {', '.join(members[0].cells[cell])}")
    fields = [name for name in SampleOptions._fields if len({getattr(cell, name) for cell in cells}) > 1]
    heads = [_head(cell, fields or ["sampler", "steps", "td"]) for cell in cells]
    lines = [[score, "runs", *heads], ["---"] * (len(heads) + 2)]
    for name, members in rows.items():
        numbers = [
            _number([run.cells[cell][score] for run in members]) if cell in common[name] else "" for cell in cells
        ]
        lines.append([name, str(len(members)), *numbers])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _head(cell: SampleOptions, fields: list[str]) -> str:
    values = ((name, getattr(cell, name)) for name in fields)
    return ", ".join(value if name == "sampler" else f"{name} {value}" for name, value in values)


def _number(values: list[float]) -> str:
    mean = np.mean(values)
    return f"{mean:.4g}" if len(values) == 1 else f"{mean:.4g} ± {np.std(values, ddof=1):.2g}"
