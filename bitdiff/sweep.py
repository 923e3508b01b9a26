"""Measures one checkpoint with many samplers: python -m bitdiff.sweep --workdir DIR --steps 10,20 --td 0,1.

Every combination of the axes' values is a cell, saved to DIR/sweep.json as soon as it is measured, so a stopped sweep
resumes, and a later one adds to it. DIR/sweep.md holds a table of all cells and tables of the chosen score by steps and
td; DIR/sweep.png plots that score against td.
"""

from typing import Any, NamedTuple

from absl import flags

from bitdiff.cli import command, sampling_flags
from bitdiff.cli.data_flags import DataRequest, define_data_flags, read_data
from bitdiff.cli.sampling_flags import DrawRequest, RunRequest
from bitdiff.evaluation import sweep_tables
from bitdiff.evaluation.sweep_cells import AXES, Scores, Sweep, cells, measure_cells, options_of, read_sweep
from bitdiff.figures import plots
from bitdiff.inference.trained import check_options
from bitdiff.runtime import files, processes
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks import SampleOptions


class Request(NamedTuple):
    """What to sweep: which model on which data, the values of each axis, and the score of the plot."""

    run: RunRequest
    draw: DrawRequest
    data: DataRequest
    axes: dict[str, list[str]]
    score: str | None


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    for axis in AXES:
        flags.DEFINE_list(axis, None, f"Values of {axis}, separated by commas; by default the config's.")
    flags.DEFINE_integer("num_samples", None, "Samples per cell; by default the config's.", lower_bound=2)
    flags.DEFINE_integer("batch_size", None, "Samples per batch over all devices; by default the config's.")
    flags.DEFINE_integer("seed", None, "Seed of the noise, the same in every cell; by default the config's.")
    flags.DEFINE_string("score", None, "Score to plot; by default FID or, if it was not measured, a similar score.")
    define_data_flags()


def main() -> None:
    """Runs the command."""
    values = flags.FLAGS
    draw = DrawRequest(values.num_samples, values.batch_size, values.seed, {})
    axes = command.given(*AXES)
    sweep(Request(sampling_flags.read_run(), draw, read_data(), axes, values.score))


def sweep(request: Request) -> None:
    """Measures all cells, and writes their tables and plot."""
    run = request.run.open()
    base = request.draw.resolve(run, run.config.evaluate)
    values = {axis: _values(request, axis, getattr(base.options, axis)) for axis in AXES}
    todo = cells(base.options, values)
    check_options(run, todo)
    judges = request.data.open_judges(run)
    run, dataset = request.data.open(run)
    job = Sweep(run, dataset, judges, base)
    rows = []
    for options, scores in measure_cells(job, todo):
        if request.score:
            choose("score", request.score, scores)
        rows.append((options, scores))
    score = request.score or next(name for name in sweep_tables.PREFERRED if name in rows[0][1])
    print(sweep_tables.markdown(rows) + sweep_tables.grids(rows, score))
    if dataset.field == "captions":
        print(f"captions are split into words by the tokenizer {run.config.evaluate.tokenizer!r}")
    if processes.is_main():
        _write(job, score)


def _write(job: Sweep, score: str) -> None:
    """Writes the tables and the plot of all cells, including those of earlier sweeps."""
    found: list[tuple[SampleOptions, Scores]] = [
        (options_of(name), scores) for name, scores in read_sweep(job.path)["cells"].items()
    ]
    rows = sorted(found, key=lambda row: row[0])
    folder = job.path.parent
    files.write_text(folder / "sweep.md", sweep_tables.markdown(rows) + sweep_tables.grids(rows, score))
    lines = sweep_tables.curves([row for row in rows if score in row[1]], score)
    plots.curves(folder / "sweep.png", lines, x_label="td, in steps", y_label=score)
    print(f"all cells are in {job.path}, {folder / 'sweep.md'} and {folder / 'sweep.png'}")


def _values(request: Request, axis: str, default: Any) -> list[Any]:
    """The values of an axis, with the type of the config's value."""
    texts = request.axes.get(axis)
    if texts is None:
        return [default]
    kind = type(default)
    try:
        if not texts:
            raise ValueError("it is empty")
        return [kind(text) for text in texts]
    except ValueError as error:
        valid = {int: "integers, as in 10,20", float: "numbers, as in 0,0.5"}.get(kind, "names")
        raise UsageError(f"--{axis} is {','.join(texts)!r}; it must be {valid}") from error


if __name__ == "__main__":
    define_flags()
    command.run(main)
