"""Points of a few real numbers, denoised by an MLP: DisCo-Diff's two-dimensional toy."""

from typing import Any

import numpy as np

from bitdiff.data import Dataset, gaussians
from bitdiff.data.dataset import stack
from bitdiff.errors import UsageError
from bitdiff.metrics import points
from bitdiff.tasks.denoising import make_denoising_task
from bitdiff.tasks.task import SampleOptions, Score, Task

_PAIRED = 2_000  # points whose best pairing is sought


def make_point_task(config: Any) -> Task:
    """EDM of points of config.data.channels numbers.

    Raises:
      UsageError: no EDM, or another network than an MLP.
    """
    if config.network.name != "mlp" or not config.diffusion.sigma_data:
        raise UsageError(
            f"points are denoised by EDM with an MLP, not by {config.network.name!r} with config.diffusion.sigma_data="
            f"{config.diffusion.sigma_data:g}"
        )
    return make_denoising_task(config, field="point", grid=(), channels=config.data.channels, evaluate=evaluate)


def evaluate(outputs: dict[str, np.ndarray], dataset: Dataset, options: SampleOptions) -> dict[str, Score]:
    """Scores generated points against the eight Gaussians, each beside the same number for the test points."""
    del options
    drawn, real = outputs["point"], stack(dataset.test)["point"]
    count = min(_PAIRED, len(drawn)) // len(gaussians.MODES) * len(gaussians.MODES)
    even = gaussians.draw(count // len(gaussians.MODES), seed=2)
    scores = {}
    for name, these, what in (("", drawn, "samples"), ("_real", real, "test points")):
        dealt = "; their latents are of test points, of each mode in turn" if "source" in outputs and not name else ""
        scores |= {
            f"w2{name}": Score(
                points.wasserstein_2(these[:count], even),
                f"2-Wasserstein distance of {count} {what} to as many, mode by mode{dealt}",
            ),
            f"outliers{name}": Score(
                points.outliers(these, gaussians.MODES, gaussians.SPREAD),
                f"share of {len(these)} {what} more than 4 deviations from every mode",
            ),
            f"mode_tv{name}": Score(
                points.mode_tv(these, gaussians.MODES), f"total variation of the modes' shares among the {what}{dealt}"
            ),
        }
    if "latents" in outputs and (outputs["latents"] >= 0).all():
        used = np.mean([len(np.unique(column)) for column in outputs["latents"].T])
        scores["codes"] = Score(float(used), "values that a latent takes, mean over the latents")
    return scores
