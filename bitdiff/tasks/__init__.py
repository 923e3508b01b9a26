"""Tasks: the models, assembled from their parts as a config describes."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from bitdiff.conditions import Condition
from bitdiff.configuration.checking import check_config
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks.autoregressive import make_autoregressive_task
from bitdiff.tasks.blocks import make_block_task
from bitdiff.tasks.distillation import make_distillation_task
from bitdiff.tasks.docking_confidence import make_confidence_task
from bitdiff.tasks.docking_model import make_docking_task
from bitdiff.tasks.images import make_image_task
from bitdiff.tasks.masked import make_masked_task
from bitdiff.tasks.options import GUIDANCE, SampleOptions, hashable, network_evaluations, plan_of, sample_options
from bitdiff.tasks.points import make_point_task
from bitdiff.tasks.prior import FIRST_STAGES, make_first_stage, make_prior_task
from bitdiff.tasks.task import Score, Task, examples_for
from bitdiff.tasks.tokens import make_token_task

TASKS = {
    "images": make_image_task,
    "tokens": make_token_task,
    "points": make_point_task,
    "autoregressive": make_autoregressive_task,
    "blocks": make_block_task,
    "masked": make_masked_task,
    "prior": make_prior_task,
    "distillation": make_distillation_task,
    "docking": make_docking_task,
    "confidence": make_confidence_task,
}
_CONDITIONAL = ("images", "tokens", "points")  # take conditions besides those that a config describes

__all__ = [
    "GUIDANCE",
    "TASKS",
    "SampleOptions",
    "Score",
    "Task",
    "examples_for",
    "hashable",
    "make_first_stage",
    "make_task",
    "network_evaluations",
    "plan_of",
    "sample_options",
]


def make_task(config: Any, network: nn.Module | None = None, conditions: Sequence[Condition] = ()) -> Task:
    """The task that a config describes; `jax.eval_shape(task.init, key)` shows the shapes of its parameters.

    Args:
      config: a config whose sizes are set, by hand or by `bitdiff.data.resolve`.
      network: a linen module in place of the one that config.network describes. A denoiser is called with
        (x [B, *grid, C], time [B], label int [B] or None, dropout_keys [B] or None) and returns [B, *grid, output
        channels]; C holds x_t and, with self-conditioning, x0_prev. With trained guidance, or latents that modulate
        the layers, label is float [B, classes + features], a one-hot label with features beside it. With pictures or
        latents, it also gets context=[B, M, D], or memory=remember(context) if it has a method `remember`. A causal
        network has the methods of `networks.Transformer`.
      conditions: conditions of images, tokens or points besides those that the config describes.

    Raises:
      UsageError: an invalid field, a missing size, or incompatible sections.
    """
    check_config(config, extra=network is not None)
    choose("task (config.task)", config.task, TASKS)
    if not conditions:
        return TASKS[config.task](config, network)
    if config.task not in _CONDITIONAL:
        raise UsageError(f"config.task is {config.task!r}; only {', '.join(_CONDITIONAL)} take further conditions")
    return FIRST_STAGES[config.task](config, network, conditions)
