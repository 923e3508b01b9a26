"""Plots the trajectories of points and their curvature.

    python -m bitdiff.trajectories --workdirs runs/toy_plain,runs/toy_disco --out trajectories.png

The models generate points in the plane (configs/toy_disco.py). Their ODE is solved by Euler's method; a model with
latents infers them from test points.
"""

from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.evaluation.curvature import RANGE, follow
from bitdiff.figures import plots
from bitdiff.inference.trained import load
from bitdiff.runtime import processes
from bitdiff.runtime.console import table
from bitdiff.runtime.errors import UsageError

_SHOWN = 100  # trajectories in the picture


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("workdirs", None, "Folders of training runs, separated by commas.", required=True)
    flags.DEFINE_string("out", "trajectories.png", "Picture to write.")
    flags.DEFINE_integer("num_samples", 1_000, "Number of points.", lower_bound=1)
    flags.DEFINE_integer("steps", 400, "Steps of Euler's method.", lower_bound=10)
    flags.DEFINE_integer("seed", 0, "Seed of the noise.", lower_bound=0)


def main() -> None:
    """Runs the command."""
    values = flags.FLAGS
    out = command.out_file(values.out, ".png")
    runs = {folder: load(Path(folder)) for folder in values.workdirs}
    for folder, run in runs.items():
        if run.task.field != "point":
            raise UsageError(f"{folder} holds a model of {run.task.field!r}; the plot requires a model of 'point'")
    curves = {
        folder: follow(run, count=values.num_samples, steps=values.steps, seed=values.seed)
        for folder, run in runs.items()
    }
    if not processes.is_main():
        return
    paths = {name: curve.paths[:_SHOWN] for name, curve in curves.items()}
    plots.trajectories(out, paths, {name: curve.binned() for name, curve in curves.items()})
    print(
        f"mean curvature of {values.num_samples} trajectories over {RANGE[0]:g} < sigma < {RANGE[1]:g}, in 1 / length"
    )
    print(table([(name, f"{curve.mean():.4g}") for name, curve in curves.items()]))
    print(f"written to {out}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
