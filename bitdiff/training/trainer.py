"""Training from a config and a folder: from scratch, or resumed from the latest checkpoint."""

from pathlib import Path
from typing import Any

import jax
import ml_collections
from clu import parameter_overview

from bitdiff.data import Dataset
from bitdiff.runtime import devices, processes
from bitdiff.runtime.devices import describe_devices
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.interrupts import StopSignals
from bitdiff.runtime.locks import locked
from bitdiff.tasks import Task
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints, Policy, Restored
from bitdiff.training.initial_params import initial_params
from bitdiff.training.loop import Loop, Progress, Start
from bitdiff.training.running_means import RunningMeans
from bitdiff.training.setup import Setup, prepare, training_batches
from bitdiff.training.state import init_state


def train(
    config: ml_collections.ConfigDict, folder: Path, *, dataset: Dataset | None = None, task: Task | None = None
) -> Progress:
    """Trains until config.train.steps, from the latest checkpoint in `folder` if there is one.

    Writes checkpoints, config.json, metrics.jsonl, TensorBoard files and previews. SIGINT, SIGTERM and SIGHUP stop
    training after the current step, with a checkpoint. Meanwhile, no other training run can write to the folder.

    Args:
      config: the configuration.
      folder: the workdir.
      dataset: the data set, in place of the one that config.data describes.
      task: the task, in place of the one that the config describes.

    Raises:
      UsageError: bad input, or another training run in the folder; raised before anything is compiled.
      DivergedError: the loss or its gradient is not finite; nothing is saved from then on.
    """
    setup = prepare(config, Path(folder), dataset, task)
    with locked(setup.folder):
        if workdir.has_checkpoints(setup.folder):
            workdir.check_unchanged(setup.folder, setup.config)  # another run may have ended here since `prepare`
        return _train(setup)


def _train(setup: Setup) -> Progress:
    checkpoints = Checkpoints(setup.folder, policy=Policy.of(setup.config.checkpoint))
    abstract = jax.eval_shape(lambda: init_state(setup.task.init(setup.init_key), setup.optimizer))
    restored = checkpoints.restore(abstract, ("data", "examples", "sums"))
    about, count = setup.dataset.about, len(setup.dataset.train)
    print(f"{describe_devices()}; {about}; {count} training examples", flush=True)
    if setup.inferred:
        print(
            f"taken from the data: {', '.join(f'{name} {value}' for name, value in setup.inferred.items())}", flush=True
        )
    start = _from_scratch(setup) if restored is None else _resumed(setup, restored)
    if restored is not None:
        print(f"resuming from step {restored.step} in {checkpoints.folder}", flush=True)
        _report_new_length(setup.config, restored.config)
    if processes.is_main():
        if setup.dataset.tokenizer:
            workdir.save_tokenizer(setup.folder, setup.dataset.tokenizer)
        workdir.save_config(setup.folder, setup.config)  # last, so that an error keeps the old one
    print(f"{parameter_overview.count_parameters(start.state.params):,} parameters", flush=True)
    with StopSignals(quiet=not processes.is_main()) as stop:
        return Loop(setup, start, checkpoints).run(stop)


def _report_new_length(config: ml_collections.ConfigDict, before: dict[str, Any]) -> None:
    """Prints a notice if train.steps has changed, since the learning rate follows the schedule for the new length."""
    steps, schedule = before["train"]["steps"], config.optimizer.schedule
    if schedule != "constant" and steps != config.train.steps:
        print(
            f"config.train.steps changed from {steps} to {config.train.steps}: the learning rate continues on the "
            f"{schedule} schedule for the new length, so the run will differ from one trained with that length from "
            "the start",
            flush=True,
        )


def _from_scratch(setup: Setup) -> Start:
    params = initial_params(setup.config, setup.task, setup.init_key)
    state = devices.replicate(jax.jit(lambda params: init_state(params, setup.optimizer))(params))
    return Start(state, training_batches(setup.config, setup.dataset), RunningMeans())


def _resumed(setup: Setup, restored: Restored) -> Start:
    """The start at a checkpoint.

    Raises:
      UsageError: the data now have a different number of examples.
    """
    before, now = restored.progress["examples"], len(setup.dataset.train)
    if before != now:
        raise UsageError(
            f"{setup.folder} was trained on {before} examples, but the data now hold {now} ({setup.dataset.about}); "
            "pass the same data, or another --workdir"
        )
    batches = training_batches(setup.config, setup.dataset)
    batches.set_state(restored.progress["data"])  # type: ignore[attr-defined]
    return Start(restored.state, batches, RunningMeans(restored.progress["sums"]))
