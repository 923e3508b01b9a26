"""Everything a training run is made of, checked before anything is compiled."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
import optax

from bitdiff import data
from bitdiff.configuration.checking import CUSTOM, check_config
from bitdiff.data.dataset import fingerprint
from bitdiff.runtime import processes
from bitdiff.tasks import Task, make_task
from bitdiff.training import workdir
from bitdiff.training.checks import check_training
from bitdiff.training.first_stage import check_first_run, with_first_stage
from bitdiff.training.optimizer import learning_rate, optimizer_of
from bitdiff.training.schedule_file import with_measured_schedule

_INFERRED = ("image_size", "channels", "length", "vocab_size", "num_classes")


class Setup(NamedTuple):
    """A run: its resolved config, its folder, and what they describe.

    init_key, run_key: PRNG keys of the weights and of the training steps.
    inferred: the fields of config.data that were taken from the data, by name.
    """

    config: ml_collections.ConfigDict
    folder: Path
    dataset: data.Dataset
    task: Task
    optimizer: optax.GradientTransformation
    init_key: jax.Array
    run_key: jax.Array
    inferred: dict[str, object]


def prepare(
    config: ml_collections.ConfigDict, folder: Path, dataset: data.Dataset | None = None, task: Task | None = None
) -> Setup:
    """Loads the data, builds the task, checks both, and creates the folder.

    Args:
      config: the configuration; sizes of 0 are taken from the data.
      folder: the workdir; a run in it is resumed.
      dataset: the data set, in place of the one that config.data describes.
      task: the task, in place of the one that the config describes.

    Raises:
      UsageError: bad input, or the folder holds a run with a different config.
    """
    check_config(config, extra=task is not None)
    learning_rate(config.optimizer, config.train.steps)  # its errors come before the data are loaded
    if task is None:
        check_first_run(config, folder)
    config = with_measured_schedule(config, folder)
    dataset = data.load(config.data) if dataset is None else dataset
    given = config.data
    if task is None:
        config = with_first_stage(data.resolve(config, dataset), folder)
        task = make_task(config)
    else:
        config = data.resolve(config, dataset, any_task=True)
        with config.unlocked():
            config.network = ml_collections.ConfigDict({"name": CUSTOM})
    optimizer = optimizer_of(config, task)
    check_training(config, task, dataset, optimizer)
    if workdir.has_checkpoints(folder):
        workdir.check_unchanged(folder, config)
    processes.check_equal("the config", workdir.plain(config))
    processes.check_equal("the data", [dataset.about, len(dataset.train), fingerprint(dataset.train)])
    if processes.is_main():
        workdir.make(folder)
    processes.check_shared(folder)
    init_key, run_key = jax.random.split(jax.random.key(config.seed))
    inferred = {name: config.data[name] for name in _INFERRED if config.data[name] != given[name]}
    return Setup(config, folder, dataset, task, optimizer, init_key, run_key, inferred)


def training_batches(config: ml_collections.ConfigDict, dataset: data.Dataset) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of the training batches, as `data.batches` yields them."""
    return data.batches(
        dataset.train,
        batch_size=config.train.batch_size,
        seed=config.seed,
        flip=config.data.flip,
        crop=config.data.crop,
        captions=(config.data.captions_drawn or config.data.captions) if dataset.field == "captions" else 0,
        curriculum_steps=config.data.curriculum_steps,
        prefetch_batches=config.data.prefetch_batches,
        process=processes.processes(),
    )
