"""Device memory: how much there is, the minimum a computation needs, and what to lower when it runs out."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import jax

from bitdiff.runtime.errors import UsageError

_UNKNOWN = 2**62
_LIMIT = Path("/sys/fs/cgroup/memory.max")  # Linux: bytes that this container may use, or 'max'
_EXHAUSTED = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
TRAINING_ADVICE = (
    "lower config.train.batch_size, raise config.train.accumulate (the same gradients, in more parts), set "
    "config.network.remat=True, or lower config.network.dim"
)
SAMPLING_ADVICE = "lower the batch size (--batch_size, config.sample.batch_size)"


def device_memory() -> int:
    """Bytes of memory of one device, or 2^62 if unknown; CPU devices split the machine's memory evenly."""
    stats = jax.local_devices()[0].memory_stats()
    if stats and "bytes_limit" in stats:
        return stats["bytes_limit"]
    return host_memory() // jax.local_device_count() if jax.default_backend() == "cpu" else _UNKNOWN


def host_memory() -> int:
    """Bytes of memory of this machine or container, or 2^62 if unknown."""
    if not hasattr(os, "sysconf"):
        return _UNKNOWN
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # there is no such file, or it holds 'max'
        memory = min(memory, int(_LIMIT.read_text()))
    return memory


def tree_bytes(tree: Any) -> int:
    """Total bytes of a tree of arrays, or of their shapes."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


def check_trace(function: Callable[..., Any], *args: Any, what: str, advice: str) -> None:
    """Traces a function without computing anything, and checks that its largest array could fit on a device.

    XLA may never store an array that is only summed, for example, so twice the memory of a device is allowed.

    Args:
      function: the function.
      *args: its arguments, or their shapes.
      what: what it computes, for the message.
      advice: what to change if it does not fit.

    Raises:
      UsageError: an array does not fit. Errors of the function itself are raised unchanged.
    """
    jaxpr = jax.make_jaxpr(function)(*args)
    largest = max(map(_bytes, _arrays(jaxpr.jaxpr)), default=0)
    if largest > 2 * device_memory():
        check_fits(largest, f"{what} needs an array", advice)


def check_fits(size: int, what: str, advice: str) -> None:
    """Raises UsageError if `size` bytes exceed a device's memory."""
    memory = device_memory()
    if size > memory:
        raise UsageError(f"{what} of {size / 2**30:.3g} GiB, but a device has {memory / 2**30:.3g} GiB; {advice}")


@contextmanager
def advised(advice: str) -> Iterator[None]:
    """Turns an out-of-memory error into a UsageError that states what to change."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, MemoryError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not any(text in str(error) for text in _EXHAUSTED):
            raise
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"out of memory ({reason or 'on the host'}); {advice}") from error


def _arrays(jaxpr: Any) -> Iterator[Any]:
    """The shapes of all arrays that a traced function and the functions within it compute."""
    for equation in jaxpr.eqns:
        yield from (variable.aval for variable in equation.outvars)
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _arrays(inner)


def _bytes(leaf: Any) -> int:
    return math.prod(getattr(leaf, "shape", ())) * getattr(getattr(leaf, "dtype", None), "itemsize", 4)
