"""Trains several models at once on a CPU, each in its own process on a part of the cores."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import ml_collections

from bitdiff.claims.claim import Model
from bitdiff.configuration import load_config
from bitdiff.runtime import files
from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.interrupts import StopSignals
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints

_POLL_SECONDS = 0.2


class Stopped(NamedTuple):
    """A signal stopped training; the checkpoints were saved."""

    signal: signal.Signals


class Run(NamedTuple):
    """A training run of a claim's model.

    folder: its workdir.
    config: its config.
    arguments: the arguments of `bitdiff.train` for it.
    after: the folder of the run that it depends on, or None.
    """

    folder: Path
    config: ml_collections.ConfigDict
    arguments: list[str]
    after: Path | None

    @property
    def log(self) -> Path:
        """The log file of a run that is trained in its own process."""
        return self.folder.with_suffix(".log")

    @property
    def minutes(self) -> float:
        """How long the run was trained in this folder, in all calls, including start and compilation."""
        path = self._minutes_file
        return float(path.read_text()) if path.exists() else 0.0

    def add_minutes(self, minutes: float) -> None:
        """Adds to the training time of the run."""
        files.write_text(self._minutes_file, f"{self.minutes + minutes:.3f}\n")

    @property
    def _minutes_file(self) -> Path:
        return self.folder.with_suffix(".minutes")

    def is_finished(self) -> bool:
        """Whether the folder holds a checkpoint of the last step."""
        if not workdir.has_checkpoints(self.folder):
            return False
        with Checkpoints(self.folder, read_only=True) as checkpoints:
            return max(checkpoints.steps(), default=0) >= self.config.train.steps


def runs_of(models: Mapping[str, Model], names: Sequence[str], folder: Path, seed: int) -> list[Run]:
    """The runs of models with a seed, in folders NAME_SEED, each after the one it depends on."""
    runs: list[Run] = []
    for name in names:
        model = models[name]
        if model.first:
            runs += runs_of(models, [model.first], folder, seed)
        changes = {"seed": seed, "train.sample_every_steps": 0, **model.changes}
        after = folder / f"{model.first}_{seed}" if model.first else None
        if after:
            changes["first_run"] = str(after)
        config = load_config(model.config)
        config.update_from_flattened_dict(changes)
        run = folder / f"{name}_{seed}"
        fields = [f"--config.{field}={value}" for field, value in changes.items()]
        runs.append(Run(run, config, ["--config", model.config, "--workdir", str(run), *fields], after))
    return list({run.folder: run for run in runs}.values())


def check_lengths(runs: Iterable[Run]) -> None:
    """Checks that runs that have begun are trained for the steps of their claim's model.

    Raises:
      UsageError: a folder holds a run of another length, whose learning rate decays differently.
    """
    for run in runs:
        if workdir.has_checkpoints(run.folder):
            steps = workdir.load_config(run.folder).train.steps
            if steps != run.config.train.steps:
                raise UsageError(
                    f"{run.folder} holds a run of {steps:,} training steps, but the claim requires "
                    f"{run.config.train.steps:,}; choose another --workdir, or delete that folder"
                )


def train_models(runs: Sequence[Run], jobs: int) -> Stopped | None:
    """Trains the unfinished runs, each after the one it depends on.

    Args:
      runs: the runs.
      jobs: number of runs at a time; each gets an equal part of the CPU cores.

    Returns:
      The signal that stopped training, or None.

    Raises:
      UsageError: a run failed; the others were stopped, and their checkpoints saved.
    """
    waiting = [run for run in runs if not run.is_finished()]
    if not waiting:
        return None
    print(f"training {len(waiting)} models, {jobs} at a time; logs in {waiting[0].folder.parent}/*.log")
    with StopSignals() as stop, _processes() as running, progress_bar("training", "model", total=len(waiting)) as bar:
        while (waiting or running) and stop.received is None:
            for worker, (run, process, start) in list(running.items()):
                if process.poll() is not None:
                    del running[worker]
                    run.add_minutes((time.monotonic() - start) / 60)
                    _check(run, process.returncode)
                    bar.update()
            unfinished = {run.folder for run in waiting} | {run.folder for run, _, _ in running.values()}
            ready = [run for run in waiting if run.after not in unfinished]
            for worker, run in zip([worker for worker in range(jobs) if worker not in running], ready, strict=False):
                waiting.remove(run)
                running[worker] = _Started(run, _start(run, worker, jobs), time.monotonic())
            time.sleep(_POLL_SECONDS)
        return None if stop.received is None else Stopped(stop.received)


def _start(run: Run, worker: int, jobs: int) -> subprocess.Popen:
    """Starts a training run on its worker's part of the cores."""
    with run.log.open("a") as log:
        command = [sys.executable, "-m", "bitdiff.train", *run.arguments]
        # The process gets its own session, so that it does not receive Ctrl-C in addition to the signal sent below.
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    cores = sorted(os.sched_getaffinity(0))[worker::jobs] if hasattr(os, "sched_setaffinity") else []
    if cores:
        with suppress(ProcessLookupError):  # the process has already exited
            os.sched_setaffinity(process.pid, cores)
    return process


def _check(run: Run, code: int) -> None:
    """Raises UsageError if a run did not finish."""
    if code:
        errors = [line for line in run.log.read_text(errors="replace").splitlines() if line.startswith("error:")]
        reason = errors[-1].removeprefix("error:").strip() if errors else f"exit code {code}"
        raise UsageError(f"training of {run.folder} failed: {reason}; its output is in {run.log}")


class _Started(NamedTuple):
    """A run, its process, and when it started."""

    run: Run
    process: subprocess.Popen
    start: float


@contextmanager
def _processes() -> Iterator[dict[int, _Started]]:
    """The running processes by worker; at the end, stops those still running and waits until they have saved."""
    running: dict[int, _Started] = {}
    try:
        yield running
    finally:
        for _, process, _ in running.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for run, process, start in running.values():
            process.wait()
            run.add_minutes((time.monotonic() - start) / 60)
