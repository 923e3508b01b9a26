"""Trains the models that claims compare, several at once on a CPU."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import ml_collections

from bitdiff.claims.claim import Model
from bitdiff.claims.job_pool import Job, Stopped, run_jobs
from bitdiff.configuration import load_config
from bitdiff.runtime import files
from bitdiff.runtime.console import counted
from bitdiff.runtime.errors import UsageError
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints


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
    at_once = f", {min(jobs, len(waiting))} at a time" if len(waiting) > 1 else ""
    print(f"training {counted(len(waiting), 'model')}{at_once}; logs in {waiting[0].folder.parent}/*.log", flush=True)
    pool = [
        Job(
            f"training of {run.folder}",
            ["train", *run.arguments],
            run.log,
            after=f"training of {run.after}" if run.after else "",
            ended=run.add_minutes,
        )
        for run in waiting
    ]
    return run_jobs(pool, jobs, title="training", unit="model")
