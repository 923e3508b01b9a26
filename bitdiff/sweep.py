"""Measures one checkpoint under many samplers: python -m bitdiff.sweep --workdir DIR --steps 10,20 --td 0,1.

Every cell of {sampler} x {steps} x {td} x {guidance} is kept in DIR/sweep.json as soon as it is measured, so a
stopped sweep goes on where it was. DIR/sweep.md holds the table, DIR/sweep.png the chosen score against td.
"""

import itertools
import json
from pathlib import Path
from typing import Any

from absl import flags

from bitdiff import commands, evaluate, files, inference, parallel, plots
from bitdiff.errors import UsageError, choose
from bitdiff.tasks import SampleOptions, sample_options

AXES = ("sampler", "steps", "td", "guidance")
_PREFERRED = ("fid", "swd", "frechet_pixels", "tv", "marginal_tv")  # the score of the picture, where none is named


def cells(base: SampleOptions, axes: dict[str, list[Any]]) -> list[SampleOptions]:
    """All combinations of the axes' values, in order; the other options are those of `base`."""
    return [base._replace(**dict(zip(axes, values, strict=True))) for values in itertools.product(*axes.values())]


def name_of(options: SampleOptions) -> str:
    """A cell's name in sweep.json."""
    return json.dumps(options._asdict(), sort_keys=True)


def markdown(rows: list[tuple[SampleOptions, dict[str, float]]]) -> str:
    """A table of all cells: how they were drawn, and every score."""
    names = list(dict.fromkeys(name for _, scores in rows for name in scores))
    lines = [[*AXES, *names], ["---"] * (len(AXES) + len(names))]
    for options, scores in rows:
        how = [f"{getattr(options, axis)}" for axis in AXES]
        lines.append(how + [f"{scores[name]:.4g}" if name in scores else "" for name in names])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def curves(rows: list[tuple[SampleOptions, dict[str, float]]], score: str) -> dict[str, dict[float, float]]:
    """The score against td, a curve per sampler, steps and guidance."""
    lines: dict[str, dict[float, float]] = {}
    for options, scores in rows:
        name = f"{options.sampler}, {options.steps} steps"
        if options.guidance:
            name += f", guidance {options.guidance:g}"
        lines.setdefault(name, {})[options.td] = scores[score]
    return lines


def define_flags() -> None:
    """Defines the command's flags."""
    inference.define_run_flags()
    flags.DEFINE_list("sampler", None, "Samplers; by default the config's.")
    flags.DEFINE_list("steps", None, "Numbers of steps; by default the config's.")
    flags.DEFINE_list("td", None, "Values of td, in steps; by default the config's.")
    flags.DEFINE_list("guidance", None, "Values of guidance; by default the config's.")
    flags.DEFINE_integer("num_samples", None, "How many samples a cell; by default the config's.", lower_bound=2)
    flags.DEFINE_integer("batch_size", None, "Samples at a time over all devices; by default the config's.")
    flags.DEFINE_integer("seed", None, "Of the noise, the same in every cell; by default the config's.")
    flags.DEFINE_string("score", None, "The score of the picture; by default FID or what comes nearest to it.")
    evaluate.define_data_flags()


def _axis(name: str, default: Any) -> list[Any]:
    values = flags.FLAGS[name].value
    if values is None:
        return [default]
    try:
        return [type(default)(value) for value in values]
    except ValueError as error:
        raise UsageError(f"--{name} is {','.join(values)}; it must be numbers, as in 0,1") from error


def main() -> None:
    """The command."""
    run = inference.open_run(Path(flags.FLAGS.workdir), flags.FLAGS.checkpoint)
    section = run.config.evaluate
    for name in ("num_samples", "seed"):
        if flags.FLAGS[name].value is not None:
            section[name] = flags.FLAGS[name].value
    if flags.FLAGS.batch_size is not None:
        run.config.sample.batch_size = flags.FLAGS.batch_size
    base = sample_options(run.config.sample)
    todo = cells(base, {name: _axis(name, getattr(base, name)) for name in AXES})
    inference.check_options(run, todo)
    judge = evaluate.open_judge(run.config)
    dataset = evaluate.open_data(run.config)

    path = run.folder / "sweep.json"
    about = (
        evaluate.provenance(run, dataset, judge)
        | {"date": None}
        | {"num_samples": section.num_samples, "seed": section.seed}
    )
    report = {"provenance": about, "cells": {}}
    before = json.loads(path.read_text()) if path.exists() else None
    parallel.wait_for_all("the sweep so far is read")
    if before and before["provenance"] == json.loads(json.dumps(about)):
        report = before
    elif before:
        number = len(list(run.folder.glob("sweep_*")))
        place = path.with_name(f"sweep_step{before['provenance']['step']}_{number}.json")
        if parallel.is_main():
            path.rename(place)
        print(f"a sweep of something else was there; it is now {place}")
    for i, options in enumerate(todo, start=1):
        name = name_of(options)
        if name not in report["cells"]:
            how = ", ".join(f"{axis} {getattr(options, axis)}" for axis in AXES)
            print(f"cell {i} of {len(todo)}: {how}", flush=True)
            scores, _ = evaluate.measure(
                run, options, dataset, judge, num_samples=section.num_samples, seed=section.seed
            )
            report["cells"][name] = {score: value.value for score, value in scores.items()}
            if parallel.is_main():
                files.write_text(path, json.dumps(report, indent=2) + "\n")
    rows = [(options, report["cells"][name_of(options)]) for options in todo]
    text = markdown(rows)
    print(text)
    score = flags.FLAGS.score or next(name for name in _PREFERRED if name in rows[0][1])
    choose("score", score, rows[0][1])
    if not parallel.is_main():
        return
    files.write_text(run.folder / "sweep.md", text)
    plots.curves(run.folder / "sweep.png", curves(rows, score), x_label="td, in steps", y_label=score)
    print(f"written to {path}, {run.folder / 'sweep.md'} and {run.folder / 'sweep.png'}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
