"""Sets the sweeps of several runs side by side: python -m bitdiff.compare --workdirs 'runs/photos/*' --score swd.

Runs whose configs differ in the seed alone are taken together: mean and standard deviation over them. A row is
named by the fields in which its config differs from that of the first run; a column is a cell of the sweeps.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from bitdiff import commands, files, sweep, workdir
from bitdiff.errors import UsageError

# What the name of a row never says: it does not change what is compared.
_SILENT = ("seed", "sample.", "evaluate.", "checkpoint.", "train.sample_every_steps", "train.log_every_steps")


class Swept(NamedTuple):
    """A run's config, flat, and its sweep: scores by name, by the cell's options."""

    config: dict[str, Any]
    cells: dict[str, dict[str, float]]


def read(folder: Path) -> Swept:
    """Reads the config and the sweep in a workdir.

    Raises:
      UsageError: it holds no run or no sweep.
    """
    config = workdir.flatten(workdir.plain(workdir.load_config(folder)))
    try:
        return Swept(config, json.loads((folder / "sweep.json").read_text())["cells"])
    except (OSError, ValueError, KeyError) as error:
        raise UsageError(f"{folder} holds no readable sweep.json ({error}); make one with bitdiff.sweep") from error


def group(runs: Iterable[Swept]) -> dict[str, list[Swept]]:
    """Runs by the name of their row; those of a row differ in the seed alone."""
    rows: dict[str, list[Swept]] = {}
    first = None
    for run in runs:
        told = {name: value for name, value in run.config.items() if not name.startswith(_SILENT)}
        first = told if first is None else first
        changes = [
            f"{name}={told.get(name)}" for name in sorted(told | first, key=str) if told.get(name) != first.get(name)
        ]
        rows.setdefault(", ".join(changes) or "as configured", []).append(run)
    return rows


def markdown(rows: dict[str, list[Swept]], score: str) -> str:
    """A table of one score, over the cells that all runs have: mean and, of several runs, standard deviation.

    Raises:
      UsageError: the runs have no cell in common, or a cell lacks the score.
    """
    runs = [run for members in rows.values() for run in members]
    cells = [cell for cell in runs[0].cells if all(cell in run.cells for run in runs)]
    if not cells:
        raise UsageError("the runs' sweeps have no cell in common; sweep them all with the same options")
    lacking = [cell for run in runs for cell in cells if score not in run.cells[cell]]
    if lacking:
        raise UsageError(f"there is no score {score!r}; there are: {', '.join(runs[0].cells[cells[0]])}")
    options = [json.loads(cell) for cell in cells]
    axes = [axis for axis in sweep.AXES if len({option[axis] for option in options}) > 1]
    heads = [
        " ".join(f"{option[axis]}" if axis == "sampler" else f"{axis} {option[axis]:g}" for axis in axes)
        for option in options
    ]
    lines = [[score, "runs", *heads], ["---"] * (len(heads) + 2)]
    for name, members in rows.items():
        values = np.array([[run.cells[cell][score] for cell in cells] for run in members])
        spread = values.std(axis=0, ddof=1) if len(values) > 1 else [None] * len(cells)
        lines.append(
            [name, str(len(members)), *(_number(*pair) for pair in zip(values.mean(axis=0), spread, strict=True))]
        )
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _number(mean: float, deviation: float | None) -> str:
    return f"{mean:.4g}" if deviation is None else f"{mean:.4g} ± {deviation:.2g}"


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("workdirs", None, "Folders of runs that were swept, or patterns such as 'runs/*'.", required=True)
    flags.DEFINE_list("score", None, "The scores to compare, a table each.", required=True)
    flags.DEFINE_string("out", None, "A Markdown file to write the tables to, beside printing them.")


def main() -> None:
    """The command."""
    folders = []
    for pattern in flags.FLAGS.workdirs:
        found = sorted(Path().glob(pattern)) if not Path(pattern).is_absolute() else sorted(Path("/").glob(pattern[1:]))
        if not found:
            raise UsageError(f"--workdirs: there is no folder {pattern}")
        folders += [folder for folder in found if folder.is_dir()]
    rows = group(map(read, folders))
    text = "\n".join(markdown(rows, score) for score in flags.FLAGS.score)
    print(text)
    if flags.FLAGS.out:
        files.write_text(Path(flags.FLAGS.out), text)


if __name__ == "__main__":
    define_flags()
    commands.run(main)
