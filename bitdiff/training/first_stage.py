"""The run that another one starts from: its config and its trained weights, taken from its workdir.

It is a prior's first stage, a student's teacher, or the docking run whose poses a confidence model ranks.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_first_stage, make_task
from bitdiff.tasks.distillation import check_teacher
from bitdiff.tasks.docking_confidence import make_pose_task
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints
from bitdiff.training.optimizer import optimizer_of
from bitdiff.training.schedule_file import sampling_levels
from bitdiff.training.state import init_state

_NO_FIRST_STAGE = {
    "prior": "training a prior requires the workdir of its first stage: pass --config.first_run=DIR",
    "distillation": "distillation requires the workdir of its teacher: pass --config.first_run=DIR",
    "confidence": "a confidence model requires the workdir of a docking run: pass --config.first_run=DIR",
}
# The data fields that both stages must have in common; the location of the data may differ.
_DATA = (
    *("name", "builder", "image_size", "channels", "length", "vocab_size", "tokenizer_hash", "resize", "num_classes"),
    *("atoms", "torsions", "atom_types", "residue_types"),
)


def check_first_run(config: ml_collections.ConfigDict, folder: Path) -> None:
    """Checks that a new run of a task that starts from another run names it.

    Raises:
      UsageError: config.first_run is empty, and there is no run to resume in the folder.
    """
    if config.task in _NO_FIRST_STAGE and not config.first_run and not workdir.has_checkpoints(folder):
        raise UsageError(_NO_FIRST_STAGE[config.task])


def with_first_stage(config: ml_collections.ConfigDict, folder: Path) -> ml_collections.ConfigDict:
    """A copy of the config that holds the config of the run it starts from, as that run was trained.

    If the teacher is itself a student, this is the config of the first teacher in the chain; all share its network.

    Args:
      config: the config of any task; only priors, students and confidence models start from another run.
      folder: the workdir; a run that is resumed there already holds its first stage.

    Raises:
      UsageError: a new run names no first stage, or config.first_run holds no run, an unsuitable one, or one on
        other data.
    """
    config = config.copy_and_resolve_references()
    if config.task not in _NO_FIRST_STAGE:
        if config.first_run:
            raise UsageError(
                f"config.first_run is {config.first_run!r}, but config.task is {config.task!r}; only the tasks "
                f"{', '.join(_NO_FIRST_STAGE)} start from another run"
            )
        return config
    if not config.first_run:
        if workdir.has_checkpoints(folder):
            with config.unlocked():
                config.first = workdir.load_config(folder).first
        elif not config.first:
            raise UsageError(_NO_FIRST_STAGE[config.task])
        return config
    source = Path(config.first_run).expanduser().resolve()
    first = _read_config(source, config)
    config.first_run = str(source)
    if config.task == "distillation":
        config.distillation.teacher_steps = _teacher_steps(config, source)
    else:
        config.sample.schedule_options.levels = sampling_levels(first, source)  # for the schedule 'measured'
    with config.unlocked():
        config.first = first
    return config


def _teacher_steps(config: Any, source: Path) -> int:
    """The steps of a teacher that is a student itself, which takes two for each of config.distillation.steps; or 0."""
    teacher = workdir.load_config(source)
    if teacher.task != "distillation":
        return 0
    if teacher.distillation.steps != 2 * config.distillation.steps:
        raise UsageError(
            f"config.distillation.steps is {config.distillation.steps}, but the teacher in {source} samples in "
            f"{teacher.distillation.steps} steps; a student takes half as many"
        )
    return teacher.distillation.steps


def load_first_stage(config: Any) -> Any:
    """The moving average of the weights of config.first_run, from its latest checkpoint; of a student, its own alone.

    Raises:
      UsageError: config.first_run is empty, holds no checkpoint, or one that does not fit its config.
    """
    if not config.first_run:
        raise UsageError(_NO_FIRST_STAGE[config.task])
    folder = Path(config.first_run)
    first = workdir.load_config(folder) if config.task == "distillation" else config.first
    task = make_task(first)
    optimizer = optimizer_of(first, task)
    abstract = jax.eval_shape(lambda: init_state(task.init(jax.random.key(0)), optimizer))
    with Checkpoints(folder, read_only=True) as checkpoints:
        restored = checkpoints.restore(abstract)
    if restored is None:
        raise UsageError(f"config.first_run: {folder} holds no finished checkpoint yet")
    params = jax.tree.map(jnp.asarray, jax.tree.map(np.asarray, restored.state.ema_params))
    return params["student"] if first.task == "distillation" else params


def _read_config(folder: Path, config: Any) -> ml_collections.ConfigDict:
    try:
        first = workdir.load_config(folder)
        if config.task == "prior":
            make_first_stage(first)
        elif config.task == "confidence":
            make_pose_task(first)
        else:
            first = first.first if first.task == "distillation" else first
            check_teacher(first)
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
