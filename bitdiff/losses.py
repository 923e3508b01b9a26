"""Plots the loss of models against t: python -m bitdiff.losses --workdirs runs/a,runs/b --out losses.png.

The losses are measured on test examples with the moving average of the weights; t = 1 is noise. Conditions are dropped
at their training rates.
"""

import json
from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.evaluation.loss_by_time import loss_by_time
from bitdiff.figures import plots
from bitdiff.inference.trained import load
from bitdiff.runtime import files, processes
from bitdiff.runtime.console import table


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("workdirs", None, "Folders of training runs, separated by commas.", required=True)
    flags.DEFINE_string("out", "losses.png", "Picture to write; the numbers are written beside it as .json.")
    flags.DEFINE_integer("examples", 1_000, "Maximum number of test examples.", lower_bound=1)
    flags.DEFINE_integer("rounds", 20, "Random times per example.", lower_bound=1)
    flags.DEFINE_integer("bins", 10, "Number of intervals of t.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Seed of the times and the noise.", lower_bound=0)


def main() -> None:
    """Runs the command."""
    values = flags.FLAGS
    out = command.out_file(values.out, ".png")
    lines = {}
    for folder in values.workdirs:
        run = load(Path(folder))
        lines[folder] = loss_by_time(
            run, examples=values.examples, rounds=values.rounds, bins=values.bins, seed=values.seed
        )
    if not processes.is_main():
        return
    plots.curves(out, lines, x_label="t (1 is noise)", y_label="loss")
    files.write_text(out.with_suffix(".json"), json.dumps(lines, indent=2) + "\n")
    times = sorted({t for line in lines.values() for t in line})
    rows = [("t", "  ".join(f"{t:<8.3g}" for t in times))]
    rows += [(name, "  ".join(f"{line.get(t, float('nan')):<8.4g}" for t in times)) for name, line in lines.items()]
    print(table(rows))
    print(f"written to {out} and {out.with_suffix('.json')}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
