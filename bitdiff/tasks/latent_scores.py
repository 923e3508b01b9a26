"""The number of codes that discrete latents use; a latent that always has the same value carries no information."""

import numpy as np

from bitdiff.tasks.task import Score


def latent_scores(outputs: dict[str, np.ndarray]) -> dict[str, Score]:
    """The number of values that a latent takes, from outputs['latents'] int [N, count]; {} if there are none."""
    if "latents" not in outputs or (outputs["latents"] < 0).any():
        return {}
    used = np.mean([len(np.unique(column)) for column in outputs["latents"].T])
    about = f"number of values that a latent takes in {len(outputs['latents'])} samples, mean over the latents"
    return {"codes": Score(float(used), about)}
