"""Drawing samples over all devices, batch by batch."""

from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff import parallel
from bitdiff.data import Source
from bitdiff.errors import UsageError
from bitdiff.tasks import SampleOptions, Task


@lru_cache(maxsize=8)
def compile_sampler(task: Task, options: SampleOptions) -> Callable[[Any, Any], Any]:
    """The sampler of a task, mapped over devices and compiled once per shape and options."""

    def sample(params, batch):
        return task.sample(params, batch["condition"], batch["key"], options)

    return parallel.pmap_sample(sample)


def local_size(batch_size: int, wanted: int) -> int:
    """How many samples this process draws at a time: its share of a batch, or fewer where fewer are wanted.

    Raises:
      UsageError: a batch of nothing.
    """
    if batch_size < 1:
        raise UsageError(f"the sampling batch size is {batch_size}; it must be 1 or more")
    return min(parallel.local_batch(batch_size), parallel.round_up(max(wanted, 1)))


def take(task: Task, indices: np.ndarray, seed: int, labels: tuple[int, ...] | None, images: Source | None) -> Any:
    """What the compiled sampler is given for the samples of these numbers, divided over the local devices."""
    keys = _keys(seed, jnp.asarray(indices, jnp.uint32))
    return parallel.split({"condition": task.condition(indices, labels, images), "key": keys})


@partial(jax.jit, static_argnums=0)
def _keys(seed, indices):
    return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), indices)


def generate(
    task: Task,
    params: Any,
    options: SampleOptions,
    *,
    num_samples: int,
    batch_size: int,
    seed: int,
    labels: tuple[int, ...] | None = None,
    images: Source | None = None,
    first: int = 0,
) -> Iterator[dict[str, np.ndarray]]:
    """Draws samples first to num_samples - 1 on this process's devices.

    Sample i depends on (seed, i) and its label alone.

    Args:
      task: the model.
      params: its parameters, replicated over the local devices.
      options: how to sample.
      num_samples: how many in all.
      batch_size: how many at a time over the devices of all processes; rounded up so that they share it evenly.
      seed: of the noise.
      labels: dealt to the samples in turn; by default all classes.
      images: the pictures to describe, in turn, by a model that does.
      first: the number of the first sample drawn, to go on where another call stopped.

    Yields:
      The outputs of one batch as NumPy arrays; the last batch is cut to what is left.
    """
    size = local_size(batch_size, num_samples - first)
    for start in range(first, num_samples, size):
        rows = take(task, np.arange(start, start + size), seed, labels, images)
        outputs = parallel.join(compile_sampler(task, options)(params, rows))
        yield {name: array[: num_samples - start] for name, array in outputs.items()}
