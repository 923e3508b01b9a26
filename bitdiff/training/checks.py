"""Checks of a config before training compiles anything."""

import math
from typing import Any

import jax
import ml_collections
import numpy as np
import optax

from bitdiff.data import Dataset
from bitdiff.runtime import devices, memory
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import Task, sample_options
from bitdiff.training.checkpoints import Policy
from bitdiff.training.state import init_state


def check_training(
    config: ml_collections.ConfigDict, task: Task, dataset: Dataset, optimizer: optax.GradientTransformation
) -> None:
    """Checks the numbers of a config, and traces the loss and the sampler to find shapes that do not fit.

    Raises:
      UsageError: a size, name or number in the config does not fit.
    """
    _check_numbers(config, dataset)
    size = _rows_at_once(config)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size))
    params = jax.eval_shape(task.init, jax.random.key(0))
    example = dataset.train[0]
    if dataset.field == "captions":
        example |= {"tokens": example["tokens"][: config.data.captions_drawn or None]}
    batch = {
        name: jax.ShapeDtypeStruct((size, *np.shape(value)), np.asarray(value).dtype) for name, value in example.items()
    }
    state = memory.tree_bytes(jax.eval_shape(lambda params: init_state(params, optimizer), params))
    gradients = memory.tree_bytes(params)
    memory.check_fits(state + gradients, "training needs a state", "lower config.network.dim or the number of layers")
    memory.check_trace(task.loss, params, batch, keys, what="the loss", advice=memory.TRAINING_ADVICE)
    condition = task.condition(np.arange(size), None)
    options = sample_options(config.sample)
    memory.check_trace(
        lambda params, condition, keys: task.sample(params, condition, keys, options),
        params,
        condition,
        keys,
        what="the sampler",
        advice=memory.SAMPLING_ADVICE,
    )


def device_divisor(config: Any) -> int:
    """A number that the device count must divide, so that a step's examples and the self-conditioned ones split evenly.

    It is 0, which allows any number of devices, if the config has no `train` or `diffusion` section.
    """
    if "train" not in config or "diffusion" not in config:
        return 0
    batch_size = config.train.batch_size // max(config.train.accumulate, 1)
    return math.gcd(batch_size, round(batch_size * config.diffusion.self_cond_rate))


def _check_numbers(config: ml_collections.ConfigDict, dataset: Dataset) -> None:
    if config.train.steps < 1:
        raise UsageError(f"config.train.steps is {config.train.steps}; it must be 1 or more")
    if Policy.of(config.checkpoint).needs_test_loss and not len(dataset.test):
        raise UsageError(
            "config.checkpoint.best_metric is 'test_loss', but the data have no test examples; use 'loss', or set "
            "config.data.test_fraction"
        )
    if Policy.of(config.checkpoint).needs_test_loss and config.task == "confidence":
        raise UsageError(
            "config.checkpoint.best_metric is 'test_loss', but no poses were sampled for the test complexes; use 'loss'"
        )


def _rows_at_once(config: ml_collections.ConfigDict) -> int:
    """The number of examples a device processes at once."""
    size = devices.per_device(config.train.batch_size, "config.train.batch_size")
    if size % config.train.accumulate:
        raise UsageError(
            f"config.train.accumulate is {config.train.accumulate}; it must divide the {size} examples of a device"
        )
    return size // config.train.accumulate
