"""Points of a few real numbers, denoised by an MLP: DisCo-Diff's two-dimensional toy example."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from bitdiff.conditions import Condition
from bitdiff.data import Dataset, gaussians
from bitdiff.data.dataset import stack
from bitdiff.metrics import plane_points
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.denoiser import Layout
from bitdiff.tasks.denoising import make_denoising_task
from bitdiff.tasks.latent_scores import latent_scores
from bitdiff.tasks.options import SampleOptions
from bitdiff.tasks.task import Score, Task

_PAIRED = 2_000  # points that are optimally paired


def make_point_task(config: Any, network: nn.Module | None = None, conditions: Sequence[Condition] = ()) -> Task:
    """EDM on points with config.data.channels coordinates.

    Raises:
      UsageError: the config is not EDM, or its network is not an MLP.
    """
    if not config.diffusion.sigma_data or (network is None and config.network.name != "mlp"):
        raise UsageError(
            f"config.network.name is {config.network.name!r} and config.diffusion.sigma_data is "
            f"{config.diffusion.sigma_data:g}; points require an 'mlp' with EDM, that is, sigma_data above 0"
        )
    return make_denoising_task(config, Layout("point", (), config.data.channels), evaluate, network, conditions)


def evaluate(outputs: dict[str, np.ndarray], dataset: Dataset, options: SampleOptions) -> dict[str, Score]:
    """Scores generated points against the eight Gaussians, each next to the same score for the test points."""
    del options
    generated, real = outputs["point"], stack(dataset.test)["point"]
    count = min(_PAIRED, len(generated)) // len(gaussians.MODES) * len(gaussians.MODES)
    balanced = gaussians.draw(count // len(gaussians.MODES), seed=2)
    scores = {}
    for name, points, what in (("", generated, "samples"), ("_real", real, "test points")):
        note = "; their latents are inferred from test points of every mode in turn" if "source" in outputs else ""
        note = note if not name else ""
        if count:
            distance = plane_points.wasserstein_2(points[:count], balanced)
            about = (
                f"2-Wasserstein distance between {count} {what} and as many true points, equally many per mode{note}"
            )
            scores[f"w2{name}"] = Score(distance, about)
        scores |= {
            f"outliers{name}": Score(
                plane_points.outliers(points, gaussians.MODES, gaussians.SPREAD),
                f"fraction of {len(points)} {what} more than 4 standard deviations from every mode",
            ),
            f"mode_tv{name}": Score(
                plane_points.mode_tv(points, gaussians.MODES),
                f"total variation between the modes' fractions of the {what} and equal fractions{note}",
            ),
        }
    return scores | latent_scores(outputs)
