"""Timing compiled functions: medians over rounds, the peak of matrix products, and compiling without the cache."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.compilation_cache import compilation_cache

from bitdiff.runtime import devices

ROUNDS = 5  # a time is the median of this many
_PRODUCT_SIZE = {"cpu": 1_024, "gpu": 8_192, "tpu": 8_192}


def seconds_of(call: Callable[[], Any], seconds: float) -> float:
    """The time of a call that returns arrays: the median of five rounds, each as many calls as fit in its time.

    The calls of a round are dispatched one after another and waited for together, as in training.
    """
    jax.block_until_ready(call())
    start = time.perf_counter()
    jax.block_until_ready(call())
    repeats = max(int(seconds / ROUNDS / (time.perf_counter() - start)), 1)
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        jax.block_until_ready([call() for _ in range(repeats)][-1])
        rounds.append((time.perf_counter() - start) / repeats)
    return float(np.median(rounds))


def matrix_peak(dtype: str, seconds: float) -> float:
    """FLOPs per second and device of large matrix products on all devices at once, an upper bound for a network."""
    size = _PRODUCT_SIZE.get(jax.default_backend(), 1_024)
    a = devices.replicate(jnp.ones((size, size), dtype))
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / seconds_of(lambda: product(a, a), seconds)


@contextlib.contextmanager
def no_cache() -> Iterator[None]:
    """Compiles from scratch, whatever the persistent cache holds."""
    before = jax.config.jax_enable_compilation_cache  # pyrefly: ignore[missing-attribute]
    _enable_cache(False)
    try:
        yield
    finally:
        _enable_cache(before)


def _enable_cache(enabled: bool) -> None:
    jax.config.update("jax_enable_compilation_cache", enabled)
    compilation_cache.reset_cache()  # jax looks at the option only once, in the first compilation


def compiler_flops(compiled: Any) -> float:
    """The compiler's own count of FLOPs."""
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis or {}
    return analysis.get("flops", float("nan"))
