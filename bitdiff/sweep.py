"""Measures one checkpoint under many samplers: python -m bitdiff.sweep --workdir DIR --steps 10,20 --td 0,1.

Every cell of {sampler} x {steps} x {td} x {lag} x {guidance} x {latent_guidance} x {beams} is kept in DIR/sweep.json as
soon as it is measured, so a stopped sweep goes on where it was, and a later one adds to it. DIR/sweep.md holds the
table of all cells and the chosen score by steps and td, DIR/sweep.png that score against td.
"""

import itertools
import json
import time
from pathlib import Path
from typing import Any

import jax
import numpy as np
from absl import flags

from bitdiff import commands, data, evaluate, files, inference, parallel, plots
from bitdiff.errors import UsageError, choose
from bitdiff.generate import compile_sampler, local_size, take
from bitdiff.tasks import SampleOptions, evaluations, examples_for, hashable, sample_options

_RATE_SECONDS = 1.0  # for which a sampler's speed is measured, or one batch
AXES = ("sampler", "steps", "td", "lag", "guidance", "latent_guidance", "beams")
_PREFERRED = (
    "fid",
    "swd",
    "frechet_pixels",
    "tv",
    "marginal_tv",
    "w2",
    "CIDEr",
)  # the score of the picture, where none is named


def cells(base: SampleOptions, axes: dict[str, list[Any]]) -> list[SampleOptions]:
    """All combinations of the axes' values, in order; the other options are those of `base`."""
    return [base._replace(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def name_of(options: SampleOptions) -> str:
    """A cell's name in sweep.json."""
    return json.dumps(options._asdict(), sort_keys=True)


def options_of(name: str) -> SampleOptions:
    """The inverse of `name_of`."""
    return SampleOptions(**{field: hashable(value) for field, value in json.loads(name).items()})


def markdown(rows: list[tuple[SampleOptions, dict[str, float]]]) -> str:
    """A table of all cells: how they were drawn, and every score."""
    names = list(dict.fromkeys(name for _, scores in rows for name in scores))
    lines = [[*AXES, *names], ["---"] * (len(AXES) + len(names))]
    for options, scores in rows:
        how = [f"{getattr(options, axis)}" for axis in AXES]
        lines.append(how + [f"{scores[name]:.4g}" if name in scores else "" for name in names])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def grids(rows: list[tuple[SampleOptions, dict[str, float]]], score: str) -> str:
    """The score by steps (rows) and td (columns), a table for each of the other axes' values that has several of both.

    The form of Table 4 of the paper.
    """
    found: dict[str, dict[tuple[int, float], float]] = {}
    for options, scores in rows:
        if score in scores:
            others = ", ".join(f"{axis} {getattr(options, axis)}" for axis in AXES if axis not in ("steps", "td"))
            found.setdefault(others, {})[options.steps, options.td] = scores[score]
    text = ""
    for others, cells in found.items():
        steps, tds = (sorted(set(values)) for values in zip(*cells, strict=True))
        if len(steps) > 1 and len(tds) > 1:
            lines = [[f"{score}: steps", *(f"td {td:g}" for td in tds)], ["---"] * (1 + len(tds))]
            lines += [[f"{n}", *(f"{cells[n, td]:.4g}" if (n, td) in cells else "" for td in tds)] for n in steps]
            text += f"\n{others}\n\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return text


def curves(rows: list[tuple[SampleOptions, dict[str, float]]], score: str) -> dict[str, dict[float, float]]:
    """The score against td, a curve per sampler, steps and guidance."""
    lines: dict[str, dict[float, float]] = {}
    for options, scores in rows:
        name = f"{options.sampler}, {options.steps} steps"
        if options.lag:
            name += f", lag {options.lag:g}"
        if options.guidance:
            name += f", guidance {options.guidance:g}"
        if options.latent_guidance:
            name += f", latent guidance {options.latent_guidance:g}"
        lines.setdefault(name, {})[options.td] = scores[score]
    return lines


def define_flags() -> None:
    """Defines the command's flags."""
    inference.define_run_flags()
    flags.DEFINE_list("sampler", None, "Samplers; by default the config's.")
    flags.DEFINE_list("steps", None, "Numbers of steps; by default the config's.")
    flags.DEFINE_list("td", None, "Values of td, in steps; by default the config's.")
    flags.DEFINE_list("lag", None, "Values of lag; by default the config's.")
    flags.DEFINE_list("guidance", None, "Values of guidance; by default the config's.")
    flags.DEFINE_list("latent_guidance", None, "Values of the guidance by latents; by default the config's.")
    flags.DEFINE_list("beams", None, "Numbers of beams; by default the config's.")
    flags.DEFINE_integer("num_samples", None, "How many samples a cell; by default the config's.", lower_bound=2)
    flags.DEFINE_integer("batch_size", None, "Samples at a time over all devices; by default the config's.")
    flags.DEFINE_integer("seed", None, "Of the noise, the same in every cell; by default the config's.")
    flags.DEFINE_string("score", None, "The score of the picture; by default FID or what comes nearest to it.")
    evaluate.define_data_flags()


def _axis(name: str, default: Any) -> list[Any]:
    values = flags.FLAGS[name].value
    if values is None:
        return [default]
    kind = type(default)
    try:
        if not values:
            raise ValueError("nothing")
        return [kind(value) for value in values]
    except ValueError as error:
        wanted = {int: "whole numbers, as in 10,20", float: "numbers, as in 0,0.5"}.get(kind, "names")
        raise UsageError(f"--{name} is {','.join(values)!r}; it must be {wanted}") from error


def read(path: Path) -> dict[str, Any]:
    """A sweep's report: 'provenance', what was measured on what, and 'cells', scores by the cell's name.

    Raises:
      UsageError: it cannot be read.
    """
    try:
        report = json.loads(path.read_text())
        for name, scores in report["cells"].items():
            options_of(name)
            dict.fromkeys(scores)
        dict.fromkeys(report["provenance"])
        return report
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} holds no readable sweep ({error}); make one with bitdiff.sweep") from error


def identity(provenance: dict[str, Any]) -> dict[str, Any]:
    """What two sweeps must share for their cells to stand in one table: not when and on what they were measured."""
    return {name: value for name, value in provenance.items() if name not in ("date", "workdir", "jax", "bitdiff")}


def _rate(run: inference.Trained, options: SampleOptions, dataset: data.Dataset, wanted: int) -> dict[str, float]:
    """How fast this process' sampler, compiled already, draws a batch whose pictures and labels are at hand."""
    size = local_size(run.config.sample.batch_size, wanted)
    rows = take(run.task, np.arange(size), 0, None, examples_for(run.task, dataset))
    sampler = compile_sampler(run.task, options)
    start, calls = time.perf_counter(), 0
    while not calls or time.perf_counter() - start < _RATE_SECONDS:
        jax.block_until_ready(sampler(run.params, rows))
        calls += 1
    rate = calls * size / (time.perf_counter() - start)
    length = run.config.data.length
    return {"tokens_per_second": rate * length} if length else {"samples_per_second": rate}


def main() -> None:
    """The command."""
    run = inference.open_run(Path(flags.FLAGS.workdir), flags.FLAGS.checkpoint, flags.FLAGS.prior_steps)
    section = run.config.evaluate
    for name in ("num_samples", "seed"):
        if flags.FLAGS[name].value is not None:
            section[name] = flags.FLAGS[name].value
    if flags.FLAGS.batch_size is not None:
        run.config.sample.batch_size = flags.FLAGS.batch_size
    base = sample_options(run.config.sample)
    todo = cells(base, {name: _axis(name, getattr(base, name)) for name in AXES})
    inference.check_options(run, todo)
    judge = evaluate.open_judge(run)
    dataset = evaluate.open_data(run.config)

    path = run.folder / "sweep.json"
    about = evaluate.provenance(run, dataset, judge) | {"num_samples": section.num_samples, "seed": section.seed}
    about = json.loads(json.dumps(about))
    before = read(path) if path.exists() else None
    parallel.agree("the sweep so far", before)
    if before and identity(before["provenance"]) != identity(about):
        number = 1
        while (place := path.with_name(f"sweep_before{number}.json")).exists():
            number += 1
        if parallel.is_main():
            path.rename(place)
        print(f"a sweep of something else was there; it is now {place}")
        before = None
    measured = before["cells"] if before else {}
    for i, options in enumerate(todo, start=1):
        name = name_of(options)
        if name not in measured:
            how = ", ".join(f"{axis} {getattr(options, axis)}" for axis in AXES)
            print(f"cell {i} of {len(todo)}: {how}", flush=True)
            scores, _ = evaluate.measure(
                run, options, dataset, judge, num_samples=section.num_samples, seed=section.seed
            )
            measured[name] = {score: value.value for score, value in scores.items()}
            measured[name] |= _rate(run, options, dataset, section.num_samples)
            measured[name] |= {"evaluations": evaluations(options)} if options.steps else {}
            if parallel.is_main():
                others = read(path)["cells"] if path.exists() else {}  # of another sweep that runs beside this one
                report = {"provenance": about, "cells": others | measured}
                files.write_text(path, json.dumps(report, indent=2) + "\n")
        if i == 1 and flags.FLAGS.score:
            choose("score", flags.FLAGS.score, measured[name])
    rows = sorted((options_of(name), scores) for name, scores in measured.items())
    asked = [(options, scores) for options, scores in rows if options in todo]
    score = flags.FLAGS.score or next(name for name in _PREFERRED if name in rows[0][1])
    print(markdown(asked) + grids(asked, score))
    if about["words"]:
        print(f"words of captions by the tokenizer {about['words']!r}")
    if not parallel.is_main():
        return
    files.write_text(run.folder / "sweep.md", markdown(rows) + grids(rows, score))
    shown = [row for row in rows if score in row[1]]
    plots.curves(run.folder / "sweep.png", curves(shown, score), x_label="td, in steps", y_label=score)
    print(f"all cells are in {path}, {run.folder / 'sweep.md'} and {run.folder / 'sweep.png'}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
