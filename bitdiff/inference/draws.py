"""Drawing samples with a progress bar, over the devices of all processes."""

from typing import Any, NamedTuple

import numpy as np

from bitdiff.data import Source
from bitdiff.runtime import processes
from bitdiff.runtime.console import announced, progress_bar
from bitdiff.runtime.memory import SAMPLING_ADVICE, advised
from bitdiff.tasks import SampleOptions, Task
from bitdiff.tasks.sample_batches import sample_batches


class Draw(NamedTuple):
    """Which samples to draw: how, how many, with which seed, and how many at once over all devices."""

    options: SampleOptions
    num_samples: int
    seed: int
    batch_size: int


def draw(
    task: Task, params: Any, request: Draw, *, labels: tuple[int, ...] | None = None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """Draws samples: arrays [num_samples, ...] by name, the same in every process.

    Each process draws its own block on its own devices; sample i does not depend on which process draws it.

    Args:
      task: the model.
      params: its parameters, replicated over the local devices.
      request: which samples.
      labels: labels assigned to the samples in turn; by default all classes.
      examples: examples that the samples are conditioned on, in turn; see `Task.condition`.
    """
    own = processes.own_range(request.num_samples)
    end = max(own.stop, own.start + 1)  # a process without samples draws one, to learn the shapes of the outputs
    outputs = draw_range(task, params, request, own.start, end, labels=labels, examples=examples)
    return processes.gather({name: array[: len(own)] for name, array in outputs.items()})


def draw_range(
    task: Task,
    params: Any,
    request: Draw,
    first: int,
    end: int,
    *,
    labels: tuple[int, ...] | None = None,
    examples: Source | None = None,
) -> dict[str, np.ndarray]:
    """Draws samples first to end - 1 on this process's devices; the other arguments are those of `draw`."""
    source = sample_batches(
        task,
        params,
        request.options,
        num_samples=end,
        batch_size=request.batch_size,
        seed=request.seed,
        labels=labels,
        examples=examples,
        first=first,
    )
    shown = processes.is_main()
    with advised(SAMPLING_ADVICE):
        with announced("compiling the sampler and drawing the first batch", shown=shown):
            batches = [next(source)]
        drawn = first + len(batches[0]["invalid"])
        with progress_bar("sampling", "sample", total=end, initial=drawn, shown=shown) as bar:
            for batch in source:
                batches.append(batch)
                bar.update(len(batch["invalid"]))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
