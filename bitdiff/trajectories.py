"""Draws the ways that points of several models take, and how much they bend.

    python -m bitdiff.trajectories --workdirs runs/toy_plain,runs/toy_disco --out trajectories.png

The models are of points in the plane (configs/toy_disco.py). Their ODE is solved by Euler's method; a model with
latents takes them from test points.
"""

from pathlib import Path

import numpy as np
from absl import flags

from bitdiff import commands, data, inference, parallel, plans, plots, schedules
from bitdiff.errors import UsageError
from bitdiff.logs import table
from bitdiff.metrics.points import curvature
from bitdiff.tasks import examples_for, sample_options

_RANGE = (0.2, 2.0)  # of sigma, where curvature is compared: below 0.1 float32 makes it noise
_BINS = 12
_PLAIN = {"churn": plans.NO_CHURN, "restarts": ()}
_SHOWN = 100  # ways in the picture


def bends(run: inference.Trained, count: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Follows points from noise to data.

    Args:
      run: a model of points.
      count: how many.
      steps: of Euler's method.
      seed: of the noise.

    Returns:
      (float [count, steps + 1, 2], the ways in data units, the noise on top; float [steps - 1], sigma; float
      [steps - 1], the curvature there).
    """
    config = run.config
    options = sample_options(config.sample, sampler="ddim", steps=steps, frames=steps, **_PLAIN)
    dataset = data.load(config.data)
    config.sample.batch_size = count
    outputs = inference.draw(run, options, num_samples=count, seed=seed, images=examples_for(run.task, dataset))
    schedule = schedules.make_schedule(options.schedule, dict(options.schedule_options))
    plan = plans.make_plan(schedule, steps, td=options.td, endpoint=options.endpoint)
    states = outputs["path"] / np.sqrt(plan.now)[:, None]
    path = np.concatenate([states, outputs["point"][:, None]], axis=1)
    return path, plans.sigma_of(plan.now)[1:], curvature(path)


def mean_curvature(sigma: np.ndarray, bend: np.ndarray) -> float:
    """The mean over levels of 0.2 < sigma < 2."""
    return float(bend[(sigma > _RANGE[0]) & (sigma < _RANGE[1])].mean())


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("workdirs", None, "The folders of training runs, separated by commas.", required=True)
    flags.DEFINE_string("out", "trajectories.png", "The picture to write.")
    flags.DEFINE_integer("num_samples", 1_000, "How many points are followed.", lower_bound=1)
    flags.DEFINE_integer("steps", 400, "Steps of Euler's method.", lower_bound=10)
    flags.DEFINE_integer("seed", 0, "Of the noise.", lower_bound=0)


def main() -> None:
    """The command."""
    out = commands.out_file(".png")
    ways, lines, rows = {}, {}, []
    for folder in map(Path, flags.FLAGS.workdirs):
        run = inference.open_run(folder)
        if run.task.field != "point":
            raise UsageError(f"{folder} holds a model of {run.task.field!r}; ways are drawn of points in the plane")
        path, sigma, bend = bends(run, flags.FLAGS.num_samples, flags.FLAGS.steps, flags.FLAGS.seed)
        edges = np.geomspace(0.05, 20.0, _BINS + 1)
        which = np.digitize(sigma, edges) - 1
        middles = np.sqrt(edges[1:] * edges[:-1])
        lines[str(folder)] = {float(middles[i]): float(bend[which == i].mean()) for i in range(_BINS) if i in which}
        ways[str(folder)] = path[:_SHOWN]
        rows.append((str(folder), f"{mean_curvature(sigma, bend):.4g}"))
    if not parallel.is_main():
        return
    plots.ways(out, ways, lines)
    print(f"mean curvature of {flags.FLAGS.num_samples} ways for {_RANGE[0]:g} < sigma < {_RANGE[1]:g}, in 1 / length")
    print(table(rows))
    print(f"written to {out}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
