"""Sampling over all devices, batch by batch."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.data import Source
from bitdiff.runtime import devices
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.options import SampleOptions
from bitdiff.tasks.task import Task


@lru_cache(maxsize=8)
def compile_sampler(task: Task, options: SampleOptions, on: tuple[Any, ...] | None = None) -> Callable[[Any, Any], Any]:
    """The sampler of a task, compiled once per shape and options, for this process's devices or the devices `on`."""

    def sample(params, batch):
        return task.sample(params, batch["condition"], batch["key"], options)

    return devices.pmap_sample(sample, on)


def local_size(batch_size: int, num_samples: int) -> int:
    """The number of samples this process draws at once: its part of a batch, or fewer if fewer are needed.

    Raises:
      UsageError: batch_size is less than 1.
    """
    if batch_size < 1:
        raise UsageError(f"the sampling batch size is {batch_size}; it must be 1 or more")
    return min(devices.local_batch(batch_size), devices.round_up(max(num_samples, 1)))


def sampler_inputs(
    task: Task, indices: np.ndarray, seed: int, labels: tuple[int, ...] | None, examples: Source | None
) -> Any:
    """The compiled sampler's input for the samples of these indices, divided over the local devices."""
    keys = _keys(seed, jnp.asarray(indices, jnp.uint32))
    return devices.split({"condition": task.condition(indices, labels, examples), "key": keys})


@partial(jax.jit, static_argnums=0)
def _keys(seed, indices):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), indices)


def sample_batches(
    task: Task,
    params: Any,
    options: SampleOptions,
    *,
    num_samples: int,
    batch_size: int,
    seed: int,
    labels: tuple[int, ...] | None = None,
    examples: Source | None = None,
    first: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Draws samples first to num_samples - 1 on this process's devices.

    Sample i depends only on (seed, i) and what it is conditioned on.

    Args:
      task: the model.
      params: its parameters, replicated over the local devices.
      options: how to sample.
      num_samples: the total number of samples.
      batch_size: samples per batch over the devices of all processes, rounded up to a multiple of the devices.
      seed: seed of the noise.
      labels: labels assigned to the samples in turn; by default all classes.
      examples: examples that the samples are conditioned on, in turn; see `Task.condition`.
      first: the index of the first sample, to continue where another call stopped.

    Yields:
      The outputs of one batch as NumPy arrays; the last batch is truncated to what remains.
    """
    size = local_size(batch_size, num_samples - first)
    for start in range(first, num_samples, size):
        inputs = sampler_inputs(task, np.arange(start, start + size), seed, labels, examples)
        outputs = devices.join(compile_sampler(task, options)(params, inputs))
        yield {name: array[: num_samples - start] for name, array in outputs.items()}
