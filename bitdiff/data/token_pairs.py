"""A known distribution over 256 states: two tokens of 16 values, from a mixture of four bumps.

It is small enough for a closed-form Bayes-optimal denoiser and a meaningful total variation distance, and correlated
and uneven, so that the tokens cannot be sampled independently.
"""

from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset

_LEVELS = 16
_BUMPS = ((3, 3, 1.2, 0.4), (12, 4, 1.8, 0.3), (5, 12, 1.0, 0.2), (12, 12, 0.7, 0.1))  # center, width, weight
_EXAMPLES = 20_000


def probabilities() -> np.ndarray:
    """float64 [16, 16], the probability of each pair of tokens; it sums to 1."""
    first, second = np.meshgrid(np.arange(_LEVELS), np.arange(_LEVELS), indexing="ij")
    total = np.zeros((_LEVELS, _LEVELS))
    for a, b, width, weight in _BUMPS:
        bump = np.exp(-((first - a) ** 2 + (second - b) ** 2) / (2 * width**2))
        total += weight * bump / bump.sum()
    return total


def draw(count: int, seed: int) -> np.ndarray:
    """Draws independent samples: int32 [count, 2]."""
    states = np.random.RandomState(seed).choice(_LEVELS**2, size=count, p=probabilities().ravel())
    return np.stack(np.divmod(states, _LEVELS), axis=-1).astype(np.int32)


def load(options: Any) -> Dataset:
    """20,000 samples for training and as many for testing; it has no options."""
    del options
    return Dataset(
        field="tokens",
        train=Arrays({"tokens": draw(_EXAMPLES, seed=0)}),
        test=Arrays({"tokens": draw(_EXAMPLES, seed=1)}),
        shape=(2,),
        vocab_size=_LEVELS,
        num_classes=0,
        class_names=(),
        about="20,000 + 20,000 samples from a known distribution over 16 x 16 states",
    )
