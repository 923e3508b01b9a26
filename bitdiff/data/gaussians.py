"""Eight equal Gaussians on a ring: the two-dimensional toy data of DisCo-Diff (Xu et al. 2024, section 3.2)."""

from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset

RADIUS = 3.0
SPREAD = 0.2  # standard deviation of a mode
MODES = RADIUS * np.stack([np.cos(np.arange(8) * np.pi / 4), np.sin(np.arange(8) * np.pi / 4)], axis=1)
_PER_MODE = 1_000


def draw(per_mode: int, seed: int) -> np.ndarray:
    """Samples independent points from each mode in turn: float32 [8 per_mode, 2]."""
    noise = np.random.RandomState(seed).randn(len(MODES), per_mode, 2)
    return (MODES[:, None] + SPREAD * noise).swapaxes(0, 1).reshape(-1, 2).astype(np.float32)


def load(options: Any) -> Dataset:
    """1,000 points of each mode for training and as many for testing; it has no options."""
    del options
    return Dataset(
        field="point",
        train=Arrays({"point": draw(_PER_MODE, seed=0)}),
        test=Arrays({"point": draw(_PER_MODE, seed=1)}),
        shape=(2,),
        vocab_size=0,
        num_classes=0,
        class_names=(),
        about=f"8 Gaussians of standard deviation {SPREAD} on a ring of radius {RADIUS:g}, 1,000 + 1,000 points each",
    )
