"""Scores of generated bits, whatever they encode."""

import numpy as np

from bitdiff.metrics import bit_histograms
from bitdiff.tasks.task import Score


def bit_scores(outputs: dict[str, np.ndarray], encoding: str) -> dict[str, Score]:
    """The fraction of invalid codes and the sharpness of the bits; {} for the continuous baseline."""
    if encoding == "continuous":
        return {}
    invalid = float(outputs["invalid"].mean())
    sharp = bit_histograms.sharpness(outputs["histogram"])
    return {
        "invalid_codes": Score(invalid, "fraction of invalid codes, decoded to the nearest valid one"),
        "sharp_bits": Score(sharp, "fraction of analog bits within 10% of -scale or +scale"),
    }
