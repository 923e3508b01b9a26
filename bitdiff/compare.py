"""Sets the sweeps of several runs side by side: python -m bitdiff.compare --workdirs 'runs/photos/*' --score swd.

Runs whose configs differ in the seed alone are taken together: mean and standard deviation over them. A row is
named by the fields in which its config differs from that of the first run; a column is a cell of the sweeps.
"""

from collections.abc import Iterable
from glob import glob
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from absl import flags

from bitdiff import commands, files, sweep, workdir
from bitdiff.errors import UsageError
from bitdiff.tasks import SampleOptions

# What the name of a row never says: it does not change what is compared.
_SILENT = (
    "seed",
    "first_run",
    "prior.sample.",
    "sample.",
    "evaluate.",
    "checkpoint.",
    "train.sample_every_steps",
    "train.log_every_steps",
)


class Swept(NamedTuple):
    """A run's folder, its config, flat, what its sweep was measured on, and the scores by the cell's options."""

    folder: str
    config: dict[str, Any]
    measured_on: dict[str, Any]
    cells: dict[SampleOptions, dict[str, float]]


def read(folder: Path) -> Swept:
    """Reads the config and the sweep in a workdir.

    Raises:
      UsageError: it holds no run or no sweep.
    """
    config = workdir.flatten(workdir.plain(workdir.load_config(folder)))
    report = sweep.read(folder / "sweep.json")
    cells = {sweep.options_of(name): scores for name, scores in report["cells"].items()}
    measured_on = sweep.identity(report["provenance"])
    config["train.steps"] = measured_on.pop("step", None)  # those of the checkpoint that was swept
    for name in ("latents", "labels", "prior"):  # what the configs say
        measured_on.pop(name, None)
    return Swept(str(folder), config, measured_on, cells)


def group(runs: Iterable[Swept]) -> dict[str, list[Swept]]:
    """Runs by the name of their row; those of a row differ in the seed alone.

    Raises:
      UsageError: two runs have the same config and seed, or sweeps were measured on different things.
    """
    rows: dict[str, list[Swept]] = {}
    first: Swept | None = None
    for run in runs:
        first = first or run
        differing = [name for name in first.measured_on if run.measured_on.get(name) != first.measured_on[name]]
        if differing:
            name = differing[0]
            raise UsageError(
                f"the sweeps of {first.folder} and {run.folder} do not compare: their {name} is "
                f"{first.measured_on[name]!r} and {run.measured_on.get(name)!r}"
            )
        told, base = (
            {name: value for name, value in config.items() if not name.removeprefix("first.").startswith(_SILENT)}
            for config in (run.config, first.config)
        )
        if run.config.get("task") != first.config.get("task"):
            # One of them has no first stage, and its own fields say the rest.
            told, base = ({k: v for k, v in config.items() if not k.startswith("first")} for config in (told, base))
        changes = [f"{name}={told.get(name)}" for name in sorted(told | base) if told.get(name) != base.get(name)]
        row = rows.setdefault(", ".join(changes) or "as configured", [])
        twins = [other.folder for other in row if other.config.get("seed") == run.config.get("seed")]
        if twins:
            raise UsageError(f"{twins[0]} and {run.folder} are the same run, with the seed {run.config.get('seed')}")
        row.append(run)
    return rows


def markdown(rows: dict[str, list[Swept]], score: str) -> str:
    """A table of one score, over the cells that all runs of a row have: mean and, of several runs, standard deviation.

    A cell stays empty where a row's sweeps lack it: an autoregressive model takes no steps.

    Raises:
      UsageError: the runs of a row have no cell in common, or a cell lacks the score.
    """
    common = {name: set.intersection(*(set(run.cells) for run in members)) for name, members in rows.items()}
    lacking = [name for name, shared in common.items() if not shared]
    if lacking:
        raise UsageError(f"sweeps of the row {lacking[0]!r} have no cell in common; sweep them with the same options")
    cells = sorted(set.union(*common.values()))
    for name, members in rows.items():
        for cell in common[name]:
            if any(score not in run.cells[cell] for run in members):
                raise UsageError(f"there is no score {score!r}; there are: {', '.join(members[0].cells[cell])}")
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


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("workdirs", None, "Folders of runs that were swept, or patterns such as 'runs/*'.", required=True)
    flags.DEFINE_list("score", None, "The scores to compare, a table each.", required=True)
    flags.DEFINE_string("out", None, "A Markdown file to write the tables to, beside printing them.")


def main() -> None:
    """The command."""
    folders: dict[Path, Path] = {}
    for pattern in flags.FLAGS.workdirs:
        found = [Path(path) for path in sorted(glob(pattern)) if Path(path).is_dir()]
        if not found:
            raise UsageError(f"--workdirs: there is no folder {pattern!r}")
        folders |= {path.resolve(): path for path in found}
    if not folders or not flags.FLAGS.score:
        raise UsageError("--workdirs and --score must not be empty")
    if flags.FLAGS.out:
        files.check_writable(Path(flags.FLAGS.out))
    rows = group(map(read, folders.values()))
    text = "\n".join(markdown(rows, score) for score in flags.FLAGS.score)
    print(text)
    if flags.FLAGS.out:
        files.write_text(Path(flags.FLAGS.out), text)


if __name__ == "__main__":
    define_flags()
    commands.run(main)
