"""Measurements of examples at random times, as in training, with noise that does not depend on the batches."""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.data import Source
from bitdiff.data.dataset import stack
from bitdiff.inference.trained import Trained

_MAX_BATCH = 256  # reduced so that the batch size times self_cond_rate is an integer


def at_random_times(
    run: Trained, measure: Callable[..., Any], source: Source, *, examples: int, rounds: int, seed: int
) -> np.ndarray:
    """What `measure(params, batch, keys)` returns, joined over all examples: float64 [arrays, rounds * examples].

    Args:
      run: the model.
      measure: returns arrays [B], one value per example.
      source: the examples.
      examples: maximum number of examples.
      rounds: how many times each is used, every time with a different key.
      seed: seed of the keys.
    """
    arrays = stack(source, examples)
    compiled = jax.jit(measure)
    params = jax.tree.map(jnp.asarray, jax.device_get(run.params))
    count = len(next(iter(arrays.values())))
    parts = []
    divisor = Fraction(run.config.diffusion.self_cond_rate).limit_denominator(_MAX_BATCH).denominator
    size = _MAX_BATCH // divisor * divisor
    for i in range(0, rounds * count, size):
        index = np.arange(i, i + size)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.asarray(index, jnp.uint32))
        batch = {name: jnp.asarray(array[index % count]) for name, array in arrays.items()}
        parts.append(np.stack(jax.device_get(compiled(params, batch, keys))).astype(np.float64))
    return np.concatenate(parts, axis=1)[:, : rounds * count]
