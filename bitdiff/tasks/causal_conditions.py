"""What the causal models of sequences are conditioned on: class labels and pictures."""

from typing import Any

import numpy as np

from bitdiff.conditions import Condition, Request
from bitdiff.runtime.errors import UsageError


def select_conditions(request: Request, labels: Condition | None, pictures: Condition | None) -> dict[str, Any]:
    """The arrays [B, ...] that the conditions select from a request, by name.

    Args:
      request: what samples are to be conditioned on.
      labels: the model's condition on class labels, or None.
      pictures: the model's condition on pictures, or None.

    Raises:
      UsageError: labels, examples or known values that the model cannot be conditioned on.
    """
    if request.offers("known"):
        raise UsageError(
            "an autoregressive model cannot complete known values, nor can one that samples block by block; use a bit "
            "model with config.task 'tokens'"
        )
    if request.labels is not None and labels is None:
        raise UsageError("labels were given, but the model is not class-conditional")
    if request.examples is not None and pictures is None:
        raise UsageError("examples were given, but the model does not describe pictures")
    arrays: dict[str, np.ndarray] = {}
    for condition in (labels, pictures):
        arrays |= condition.select(request) if condition else {}
    return arrays
