"""The largest training batch that fits a slice."""

from typing import Any

import ml_collections

from bitdiff.planning import plans
from bitdiff.planning.slices import Slice
from bitdiff.runtime.console import announced

_NO_MEMORY = "RESOURCE_EXHAUSTED"  # in the compiler's message
_TOLERANCE = 0.1  # bisection stops when the batch size is known to within this fraction


def largest_batch(config: ml_collections.ConfigDict, on: Slice) -> dict[str, Any]:
    """The plan of the largest batch that fits without gradient accumulation, found by doubling and then bisection.

    Args:
      config: a resolved config.
      on: the slice.

    Returns:
      The numbers of `plans.plan` with that batch; {'error': ...} if not even one example fits, or if compilation fails
      for another reason than a lack of memory.
    """
    fits: tuple[int, dict[str, Any]] = (0, {})
    fails = 0
    size = max(config.train.batch_size // len(on.devices), 1)
    while not fails or fails - fits[0] > max(1, _TOLERANCE * fails):
        with announced(f"compiling the training step for {on.name} with {size} examples per device"):
            numbers = plans.plan(_with_rows(config, on, size), on, "training")
        print(f"{size} examples per device {'do not fit' if 'error' in numbers else 'fit'}", flush=True)
        if "error" in numbers:
            fails = size
            if size == 1 or _NO_MEMORY not in numbers["error"]:
                return numbers
        else:
            fits = (size, numbers)
        size = (fits[0] + fails) // 2 if fails else 2 * size
    return fits[1]


def _with_rows(config: ml_collections.ConfigDict, on: Slice, rows: int) -> ml_collections.ConfigDict:
    changed = config.copy_and_resolve_references()
    changed.train.update(batch_size=rows * len(on.devices), accumulate=1)
    return changed
