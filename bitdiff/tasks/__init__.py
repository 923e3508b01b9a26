"""Tasks: the models, put together from their parts by a config."""

from typing import Any

from bitdiff.errors import choose
from bitdiff.tasks.autoregressive import make_autoregressive_task
from bitdiff.tasks.images import make_image_task
from bitdiff.tasks.points import make_point_task
from bitdiff.tasks.prior import complete, make_prior_task
from bitdiff.tasks.task import SampleOptions, Score, Task, evaluations, examples_for, hashable, sample_options
from bitdiff.tasks.tokens import make_token_task

TASKS = {
    "images": make_image_task,
    "tokens": make_token_task,
    "points": make_point_task,
    "autoregressive": make_autoregressive_task,
    "prior": make_prior_task,
}

__all__ = [
    "SampleOptions",
    "Score",
    "Task",
    "complete",
    "evaluations",
    "examples_for",
    "hashable",
    "make_task",
    "sample_options",
]


def make_task(config: Any) -> Task:
    """The task that a config describes; `jax.eval_shape(task.init, key)` shows its parameters' shapes.

    Raises:
      UsageError: an unknown name, or a size that is missing or does not fit.
    """
    choose("task (config.task)", config.task, TASKS)
    return TASKS[config.task](config)
