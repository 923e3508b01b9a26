"""Pixels as a feature space, which needs no weights but is not FID's."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_MAX_DIMS = 1_024


class FeatureSpace(NamedTuple):
    """features: int [N, H, W, C] -> float32 [N, d] in [0, 1]; about: its name in words."""

    features: Callable[[np.ndarray], np.ndarray]
    about: str


def feature_space(shape: tuple[int, ...], vocab_size: int) -> FeatureSpace:
    """Pixel values in [0, 1], averaged over blocks if an image has more than 1,024 values.

    If the size is not a multiple of the block, the last rows and columns are dropped.
    """
    height, width, channels = shape
    block = 1
    while (height // block) * (width // block) * channels > _MAX_DIMS:
        block += 1
    rows, columns = height // block, width // block

    def features(images: np.ndarray) -> np.ndarray:
        x = np.asarray(images, np.float32)[:, : rows * block, : columns * block]
        x = x.reshape(-1, rows, block, columns, block, channels)
        return x.mean(axis=(2, 4)).reshape(len(x), -1) / (vocab_size - 1)

    return FeatureSpace(features, f"Frechet pixel ({rows} x {columns})")
