"""A prior's first stage: its config and its trained weights, taken from its workdir."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_first_stage
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints
from bitdiff.training.optimizer import make_optimizer
from bitdiff.training.schedule_file import sampling_levels
from bitdiff.training.state import init_state

_NO_FIRST_STAGE = "training a prior requires the workdir of its first stage: pass --config.first_run=DIR"
# The data fields that both stages must have in common; the location of the data may differ.
_DATA = ("name", "builder", "image_size", "channels", "length", "vocab_size", "tokenizer_hash", "resize", "num_classes")


def with_first_stage(config: ml_collections.ConfigDict, folder: Path) -> ml_collections.ConfigDict:
    """A copy of the config that holds the first stage's config as it was trained.

    Args:
      config: the config of any task; only a prior has a first stage.
      folder: the workdir; a run that is resumed there already holds its first stage.

    Raises:
      UsageError: a new run names no first stage, or config.first_run holds no run, a run without latents, or one on
        other data.
    """
    config = config.copy_and_resolve_references()
    if config.task != "prior":
        return config
    if not config.first_run:
        if workdir.has_checkpoints(folder):
            with config.unlocked():
                config.first = workdir.load_config(folder).first
        elif not config.first:
            raise UsageError(_NO_FIRST_STAGE)
        return config
    source = Path(config.first_run).expanduser().resolve()
    first = _read_config(source, config)
    config.first_run = str(source)
    config.sample.schedule_options.levels = sampling_levels(first, source)  # config.sample is that of the first stage
    with config.unlocked():
        config.first = first
    return config


def load_first_stage(config: Any) -> Any:
    """The moving average of the weights of config.first_run, from its latest checkpoint.

    Raises:
      UsageError: config.first_run is empty, holds no checkpoint, or one that does not fit config.first.
    """
    if not config.first_run:
        raise UsageError(_NO_FIRST_STAGE)
    folder, first = Path(config.first_run), config.first
    task = make_first_stage(first)
    optimizer = make_optimizer(first.optimizer, first.train.steps)
    abstract = jax.eval_shape(lambda: init_state(task.init(jax.random.key(0)), optimizer))
    with Checkpoints(folder, read_only=True) as checkpoints:
        restored = checkpoints.restore(abstract)
    if restored is None:
        raise UsageError(f"config.first_run: {folder} holds no finished checkpoint yet")
    return jax.tree.map(jnp.asarray, jax.tree.map(np.asarray, restored.state.ema_params))


def _read_config(folder: Path, config: Any) -> ml_collections.ConfigDict:
    try:
        first = workdir.load_config(folder)
        make_first_stage(first)
        for name in _DATA:
            if first.data[name] != config.data[name]:
                raise UsageError(
                    f"it was trained with data.{name} {first.data[name]!r}, but config.data.{name} is "
                    f"{config.data[name]!r}"
                )
        return first
    except UsageError as error:
        raise UsageError(f"config.first_run, {folder}: {error}") from error
    except (AttributeError, KeyError) as error:
        raise UsageError(
            f"config.first_run: {folder} was trained with an incompatible version of bitdiff: "
            f"{' '.join(str(error).split())}; train it again"
        ) from error
