"""The cells of a sweep: one checkpoint measured with many samplers, saved as they are measured."""

import itertools
import json
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bitdiff.configuration import upgrades
from bitdiff.configuration.base import SAMPLE
from bitdiff.data import Dataset
from bitdiff.evaluation.judge import Judge
from bitdiff.evaluation.scores import measure, provenance
from bitdiff.inference import exported
from bitdiff.inference.draws import Draw
from bitdiff.inference.trained import Trained, report_folder
from bitdiff.runtime import files, processes
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import GUIDANCE, SampleOptions, examples_for, hashable, network_evaluations
from bitdiff.tasks.options import checked
from bitdiff.tasks.sample_batches import compile_sampler, local_size, sampler_inputs

SWEEP_FILE = "sweep.json"  # in the workdir
AXES = (
    "sampler",
    "schedule",
    "steps",
    "td",
    "lag",
    "churn_fraction",
    *GUIDANCE,
    "self_guidance",
    "momentum",
    "temperature",
    "beams",
)
# Options that are missing from the sweeps of earlier versions.
_ADDED = tuple(path.removeprefix("sample.") for path in upgrades.ADDED if re.fullmatch(r"sample\.\w+", path))
_RATE_SECONDS = 1.0  # the time over which a sampler's speed is measured, or one batch if that takes longer

Scores = dict[str, float]


class Sweep(NamedTuple):
    """What a sweep measures: a model on a data set, with samples like `base` except for the options of each cell.

    file: the name of the file that holds all cells.
    timed: whether the sampler's speed is measured, too.
    """

    run: Trained
    dataset: Dataset
    judges: Sequence[Judge]
    base: Draw
    file: str = SWEEP_FILE
    timed: bool = True

    @property
    def path(self) -> Path:
        """The file that holds all cells."""
        return report_folder(self.run) / self.file

    def identity(self) -> dict[str, Any]:
        """The provenance of the cells, as plain JSON."""
        facts = provenance(self.run, self.dataset, self.judges)
        facts |= {"num_samples": self.base.num_samples, "seed": self.base.seed}
        if self.run.folder is not None and exported.is_export(self.run.folder):
            facts["export"] = exported.digest(self.run.folder)  # sweeps of all exports are written to the same folder
        return json.loads(json.dumps(facts))


def cells(base: SampleOptions, axes: dict[str, list[Any]]) -> list[SampleOptions]:
    """All combinations of the axes' values, in order; the other options are those of `base`.

    Raises:
      UsageError: a value of the wrong form.
    """
    combinations = itertools.product(*axes.values())
    return [checked(base._replace(**dict(zip(axes, values, strict=True)))) for values in combinations]


def name_of(options: SampleOptions) -> str:
    """A cell's name in sweep.json."""
    return json.dumps(options._asdict(), sort_keys=True)


def options_of(name: str) -> SampleOptions:
    """The inverse of `name_of`; options that were added after the cell was measured have their defaults."""
    return SampleOptions(**{field: hashable(value) for field, value in _with_added(json.loads(name)).items()})


def _with_added(options: dict[str, Any]) -> dict[str, Any]:
    return {field: SAMPLE[field].default for field in _ADDED} | options


def read_sweep(path: Path) -> dict[str, Any]:
    """A sweep's report: 'provenance', what was measured on what, and 'cells', scores by the cell's name.

    Raises:
      UsageError: it cannot be read.
    """
    try:
        report = json.loads(path.read_text())
        for scores in report["cells"].values():
            dict.fromkeys(scores)
        prior = report["provenance"].get("prior")
        if prior:
            prior["sample"] = _with_added(prior["sample"])
        return report | {"cells": {name_of(options_of(name)): scores for name, scores in report["cells"].items()}}
    except FileNotFoundError as error:
        raise UsageError(f"there is no {path}; write one with bitdiff.sweep") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} holds no readable sweep ({error}); write one with bitdiff.sweep") from error


def comparable(provenance: dict[str, Any]) -> dict[str, Any]:
    """The part of a provenance that two sweeps must have in common for their cells to be in one table."""
    return {name: value for name, value in provenance.items() if name not in ("date", "workdir", "jax", "bitdiff")}


def earlier_cells(sweep: Sweep) -> dict[str, Scores]:
    """The cells measured before; a sweep with a different provenance is moved to FILE_before1.json, and so on."""
    before = read_sweep(sweep.path) if sweep.path.exists() else None
    processes.check_equal("the earlier sweep", before)
    if before is None:
        return {}
    if comparable(before["provenance"]) == comparable(sweep.identity()):
        return before["cells"]
    number = 1
    while (place := sweep.path.with_stem(f"{sweep.path.stem}_before{number}")).exists():
        number += 1
    if processes.is_main():
        sweep.path.rename(place)
    print(f"the folder held a sweep with a different provenance; it was moved to {place}")
    return {}


def measure_cells(sweep: Sweep, todo: list[SampleOptions]) -> Iterator[tuple[SampleOptions, Scores]]:
    """Measures the cells that were not measured before, saves each as soon as it is measured, and yields all.

    Args:
      sweep: what is measured.
      todo: the cells.

    Yields:
      (options, scores by name) of each cell.
    """
    measured = earlier_cells(sweep)
    identity = sweep.identity()
    for i, options in enumerate(todo, start=1):
        name = name_of(options)
        if name not in measured:
            values = ", ".join(f"{axis} {getattr(options, axis)}" for axis in AXES)
            print(f"cell {i} of {len(todo)}: {values}", flush=True)
            measured[name] = _measure_cell(sweep, options)
            _save(sweep.path, identity, measured)
        yield options, measured[name]


def _save(path: Path, identity: dict[str, Any], measured: dict[str, Scores]) -> None:
    """Writes the cells, merged with those that a concurrent sweep has written to the file.

    Raises:
      UsageError: that sweep has a different provenance; raised in every process.
    """
    others = read_sweep(path) if processes.is_main() and path.exists() else {"provenance": identity, "cells": {}}
    if processes.any_process(comparable(others["provenance"]) != comparable(identity)):
        raise UsageError(
            f"another sweep, with a different provenance, has written to {path} in the meantime; the last cell "
            "measured was not saved. Rerun this command after the other sweep has ended"
        )
    if processes.is_main():
        report = {"provenance": identity, "cells": others["cells"] | measured}
        files.write_text(path, json.dumps(report, indent=2) + "\n")


def _measure_cell(sweep: Sweep, options: SampleOptions) -> Scores:
    request = sweep.base._replace(options=options)
    scores, _ = measure(sweep.run, request, sweep.dataset, sweep.judges)
    values = {name: score.value for name, score in scores.items()}
    if sweep.timed:
        values |= _rate(sweep, options)
    return values | ({"evaluations": network_evaluations(options, sweep.run.task)} if options.steps else {})


def _rate(sweep: Sweep, options: SampleOptions) -> Scores:
    """The speed of this process's compiled sampler, with its conditions already prepared."""
    run = sweep.run
    size = local_size(sweep.base.batch_size, sweep.base.num_samples)
    inputs = sampler_inputs(run.task, np.arange(size), 0, None, examples_for(run.task, sweep.dataset))
    sampler = compile_sampler(run.task, options)
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < _RATE_SECONDS:
        jax.block_until_ready(sampler(run.params, inputs))
        calls += 1
    rate = calls * size / (time.perf_counter() - start)
    length = run.config.data.length if run.task.field == "tokens" else 0
    return {"tokens_per_second": rate * length} if length else {"samples_per_second": rate}
