"""Files of known values, which `bitdiff.sample --known` completes."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bitdiff.data.dataset import Arrays
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.files import read_arrays


def read_known(path: Path, field: str, positions: Sequence[int] | None) -> Arrays:
    """Known values as examples: 'known' int32 [N, ...] with -1 where they are open, and 'label' if the file has it.

    Args:
      path: an `.npz` file with an integer array named `field`, e.g. written by `bitdiff.sample`. Values of -1 are
        open, and so are those where a bool array 'mask' of the same shape is True.
      field: 'image', 'tokens', or 'latents' of a second stage.
      positions: positions along the last axis, counted from 0, that are known; all others are open. None for all.

    Raises:
      UsageError: the file cannot be read, its arrays do not fit one another, or a position is out of range.
    """
    try:
        arrays = read_arrays(path, [field, "label", "mask"])
    except UsageError as error:
        raise UsageError(f"--known: {error}") from error
    values = arrays.get(field)
    if values is None or values.ndim < 2 or not len(values) or not np.issubdtype(values.dtype, np.integer):
        raise UsageError(f"--known: {path} must hold an integer array `{field}` [N, ...] with at least one example")
    known = values.astype(np.int32)
    if "mask" in arrays:
        mask = arrays["mask"]
        if mask.dtype != bool or mask.shape != values.shape:
            raise UsageError(
                f"--known: `mask` in {path} is {mask.dtype} {list(mask.shape)}; it must be bool {list(values.shape)}, "
                "True where a value is open"
            )
        known = np.where(mask, -1, known)
    if positions is not None:
        width = known.shape[-1]
        if not positions or not all(0 <= position < width for position in positions):
            raise UsageError(f"--known_positions is {list(positions)}; it must name positions from 0 to {width - 1}")
        known = np.where(np.isin(np.arange(width), positions), known, -1)
    examples = {"known": known}
    if "label" in arrays:
        if arrays["label"].shape != (len(known),) or not np.issubdtype(arrays["label"].dtype, np.integer):
            raise UsageError(
                f"--known: {path} holds {len(known)} examples, but `label` is {arrays['label'].dtype} "
                f"{list(arrays['label'].shape)}; it must be integers [{len(known)}]"
            )
        examples["label"] = arrays["label"]
    return Arrays(examples)
