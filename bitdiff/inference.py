"""Opening a trained model: what sampling and evaluation share."""

from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections

from bitdiff import workdir
from bitdiff.checkpoints import Checkpoints
from bitdiff.errors import UsageError
from bitdiff.state import init_state, make_optimizer
from bitdiff.tasks import Task, make_task


class Trained(NamedTuple):
    """A model from a workdir: the moving average of its weights, replicated over the local devices."""

    config: ml_collections.ConfigDict
    task: Task
    params: Any
    step: int


def open_run(folder: Path) -> Trained:
    """Opens the latest readable checkpoint of a run; needs the workdir alone and changes nothing in it.

    Raises:
      UsageError: there is no run in the folder, or no checkpoint, or none that can be read.
    """
    config = workdir.load_config(folder)
    task = make_task(config)
    optimizer = make_optimizer(config.optimizer, config.train.steps)
    checkpoints = Checkpoints(folder, read_only=True)
    restored = checkpoints.restore_latest(jax.eval_shape(lambda: init_state(task.init(jax.random.key(0)), optimizer)))
    if restored is None:
        raise UsageError(f"{folder} holds no finished checkpoint yet; the first comes at config.checkpoint.every_steps")
    return Trained(config, task, restored.state.ema_params, restored.step)
