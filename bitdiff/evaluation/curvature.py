"""The trajectories from noise to points or continuous images, and their curvature (DisCo-Diff, section 3.2)."""

from typing import NamedTuple

import numpy as np

from bitdiff import data
from bitdiff.diffusion.noise_levels import sigma_of
from bitdiff.inference.draws import Draw, draw
from bitdiff.inference.trained import Trained
from bitdiff.metrics.plane_points import curvature
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import examples_for, plan_of, sample_options

RANGE = (0.2, 2.0)  # sigma over which mean curvature is compared; below 0.1 it is dominated by float32 rounding
_EDGES = np.geomspace(0.05, 20.0, 13)  # intervals of sigma
LEVELS = tuple(float(level) for level in np.sqrt(_EDGES[1:] * _EDGES[:-1]))  # their geometric midpoints
_EULER = {
    "churn": (0.0, 0.0, 1e9),
    "churn_fraction": 0.0,
    "restarts": (),
    "noise_scale": 1.0,
    "td": 0.0,
    "endpoint": False,
    "momentum": 0.0,
    "self_guidance": 0.0,
}


class Curves(NamedTuple):
    """Trajectories and their curvature.

    paths: float [N, S, D], from noise to data, in the codec's units; S = steps + 1 for points, whose last position is
      the sample, and S = steps for images, which end one step earlier.
    sigma: float [S - 2], where curvature is measured.
    curvature: float [S - 2], the mean over the trajectories, in 1 / length.
    """

    paths: np.ndarray
    sigma: np.ndarray
    curvature: np.ndarray

    def mean(self) -> float:
        """The mean curvature over the levels 0.2 < sigma < 2."""
        return float(self.curvature[(self.sigma > RANGE[0]) & (self.sigma < RANGE[1])].mean())

    def binned(self) -> dict[float, float]:
        """The mean curvature in logarithmic intervals of sigma, by their midpoints in LEVELS."""
        interval = np.digitize(self.sigma, _EDGES) - 1
        return {level: float(self.curvature[interval == i].mean()) for i, level in enumerate(LEVELS) if i in interval}


def follow(run: Trained, *, count: int, steps: int, seed: int) -> Curves:
    """Follows samples from noise to data by Euler's method; a model with latents infers them from test examples.

    Args:
      run: a model of points or of images with continuous pixels.
      count: number of samples.
      steps: steps of Euler's method.
      seed: seed of the noise.

    Raises:
      UsageError: the model generates discrete values.
    """
    config = run.config
    if run.task.field != "point" and (run.task.field != "image" or config.bits.encoding != "continuous"):
        raise UsageError(
            f"{run.folder} generates {run.task.field!r} with config.bits.encoding {config.bits.encoding!r}; "
            "trajectories require points, or images with the encoding 'continuous'"
        )
    options = sample_options(config.sample, sampler="ddim", steps=steps, frames=steps, **_EULER)
    dataset = data.load(config.data)
    request = Draw(options, count, seed, count)
    outputs = draw(run.task, run.params, request, examples=examples_for(run.task, dataset))
    plan = plan_of(options)
    paths = outputs["path"].reshape(count, steps, -1) / np.sqrt(plan.now)[:, None]
    if "point" in outputs:
        paths = np.concatenate([paths, outputs["point"][:, None]], axis=1)
    return Curves(paths, sigma_of(plan.now)[1 : paths.shape[1] - 1], curvature(paths))
