"""Trains the models of claims and measures their points; finished work is not repeated."""

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdiff import data
from bitdiff.claims.claim import Claim, Key, Model, Point
from bitdiff.configuration import load_config
from bitdiff.evaluation.classifier_judge import open_judge, train_judge
from bitdiff.evaluation.scores import open_data
from bitdiff.evaluation.sweep_cells import Sweep, measure_cells
from bitdiff.inference.draws import Draw
from bitdiff.inference.trained import load
from bitdiff.metrics import image_classifier
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import sample_options
from bitdiff.training.trainer import train

_JUDGE_EPOCHS = 4
_JUDGE_SEED = 0


class Stopped(NamedTuple):
    """A signal stopped a training run; its checkpoint was saved."""

    signal: signal.Signals


def measure(
    claim: Claim, models: dict[str, Model], folder: Path, seeds: Sequence[int]
) -> dict[Key, np.ndarray] | Stopped:
    """The score of every point of a claim, [seeds] each, or the signal that stopped it.

    Args:
      claim: the claim.
      models: all models by name.
      folder: the folder of the runs, each named NAME_SEED.
      seeds: the seeds.

    Raises:
      UsageError: a run in the folder has a different config, or the data are missing.
    """
    found: dict[Key, list[float]] = {(point.line, point.x): [] for point in claim.points}
    for seed in seeds:
        for name in claim.models:
            stopped = _train(models, name, folder, seed)
            if stopped:
                return stopped
        for name in claim.models:
            points = [point for point in claim.points if point.model == name]
            for point, value in zip(points, _scores(claim, points, folder, name, seed), strict=True):
                found[point.line, point.x].append(value)
    return {key: np.array(values) for key, values in found.items()}


def _train(models: dict[str, Model], name: str, folder: Path, seed: int) -> Stopped | None:
    """Trains a model, and the one it depends on, unless they are finished."""
    model = models[name]
    if model.first and (stopped := _train(models, model.first, folder, seed)):
        return stopped
    run = folder / f"{name}_{seed}"
    config = load_config(model.config)
    config.update_from_flattened_dict({"seed": seed, "train.sample_every_steps": 0, **model.changes})
    if model.first:
        config.first_run = str(folder / f"{model.first}_{seed}")
    print(f"training {name}, seed {seed}", flush=True)
    progress = train(config, run)
    return None if progress.signal is None else Stopped(progress.signal)


def _scores(claim: Claim, points: list[Point], folder: Path, name: str, seed: int) -> list[float]:
    run = load(folder / f"{name}_{seed}")
    # All claims measure a run with the same judges, so that they can use one another's measurements.
    judged = run.task.field == "image" and run.config.data.num_classes > 1
    judges = [open_judge(run, _judge(folder, run.config))] if judged else []
    run, dataset = open_data(run)
    todo = [sample_options(run.config.sample, **point.options) for point in points]
    draw = Draw(todo[0], claim.num_samples, run.config.evaluate.seed, run.config.sample.batch_size)
    measured = dict(measure_cells(Sweep(run, dataset, judges, draw), todo))
    values = []
    for options in todo:
        if claim.score.name not in measured[options]:
            raise UsageError(f"{run.folder} has no score {claim.score.name!r}; it has {', '.join(measured[options])}")
        values.append(measured[options][claim.score.name])
    return values


def _judge(folder: Path, config: Any) -> Path:
    """The classifier for a run's images, trained when it is first needed."""
    path = folder / f"judge_{config.data.name}_{config.data.image_size}.npz"
    if not path.exists():
        print(f"training the judge {path.name}", flush=True)
        judge = train_judge(data.load(config.data), epochs=_JUDGE_EPOCHS, seed=_JUDGE_SEED)
        image_classifier.save(path, judge)
    return path
