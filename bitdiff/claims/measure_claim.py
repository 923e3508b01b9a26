"""Measures the points of claims, and trains the models that are not trained yet; finished work is not repeated."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import ml_collections
import numpy as np

from bitdiff import data
from bitdiff.claims.claim import Claim, Key, Model, Point, training_of
from bitdiff.claims.job_pool import Job, Stopped, run_jobs
from bitdiff.claims.train_models import Run, check_lengths, runs_of
from bitdiff.data import Dataset
from bitdiff.evaluation.classifier_judge import open_judge, train_judge
from bitdiff.evaluation.judge import Judge
from bitdiff.evaluation.likelihood import bits_per_value, describe_bound
from bitdiff.evaluation.scores import open_data, provenance
from bitdiff.evaluation.sweep_cells import SWEEP_FILE, Sweep, comparable, measure_cells
from bitdiff.inference.draws import Draw
from bitdiff.inference.trained import Trained, load
from bitdiff.metrics import image_classifier
from bitdiff.runtime import files
from bitdiff.runtime.console import counted
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import sample_options
from bitdiff.training import workdir
from bitdiff.training.setup import prepare
from bitdiff.training.trainer import train

_JUDGE_EPOCHS = 4
_JUDGE_SEED = 0


class Measured(NamedTuple):
    """What was measured for a claim.

    values: the score of each point, [seeds].
    real: the mean of the score's reference; None if it is not measured.
    judges: the judges' provenance.
    training: how the models were trained, see `training_of`.
    bounds: for each line whose model has a bound on the likelihood, what the bound is ('about') and its 'values' for
      each seed. Lines of the same model appear once.
    """

    values: dict[Key, np.ndarray]
    real: float | None
    judges: list[dict[str, Any]]
    training: dict[str, Any]
    bounds: dict[str, dict[str, Any]]


class _Scores(NamedTuple):
    """The scores of some points of a run, their references, the judges, and the run's bound by what it is."""

    values: list[float]
    real: list[float]
    judges: list[dict[str, Any]]
    bound: dict[str, float]


def measure(claim: Claim, models: Mapping[str, Model], folder: Path, seeds: Sequence[int]) -> Measured | Stopped:
    """Measures every point of a claim; returns the signal if one stopped training.

    Each seed is the training seed; for the sampling noise, it is added to config.evaluate.seed.

    Args:
      claim: the claim.
      models: all models by name.
      folder: the folder of the runs, each named NAME_SEED.
      seeds: the seeds.

    Raises:
      UsageError: a run in the folder has a different config, or the data are missing.
    """
    found: dict[Key, list[float]] = {(point.line, point.x): [] for point in claim.points}
    real: list[float] = []
    judges: dict[str, dict[str, Any]] = {}
    bounds: dict[str, dict[str, Any]] = {}
    references = _References(folder)
    for seed in seeds:
        runs = {run.folder: run for run in runs_of(models, claim.models, folder, seed)}
        check_lengths(runs.values())
        for run in runs.values():
            if run.is_finished():
                prepare(run.config, run.folder, references.dataset(run.config))  # an error if the run's config differs
                continue
            print(f"training {run.folder}", flush=True)
            start = time.monotonic()
            progress = train(run.config, run.folder)
            run.add_minutes((time.monotonic() - start) / 60)
            if progress.signal is not None:
                return Stopped(progress.signal)
        for name, step in dict.fromkeys((point.model, point.step) for point in claim.points):
            points = [point for point in claim.points if (point.model, point.step) == (name, step)]
            scores = _scores(claim, points, runs[folder / f"{name}_{seed}"], step, references)
            for point, value in zip(points, scores.values, strict=True):
                found[point.line, point.x].append(value)
            real += scores.real
            judges |= {str(facts): facts for facts in scores.judges}
            for about, value in scores.bound.items():
                bounds.setdefault(points[0].line, {"about": about, "values": []})["values"].append(value)
    values = {key: np.array(values) for key, values in found.items()}
    mean = float(np.mean(real)) if real else None
    return Measured(values, mean, list(judges.values()), training_of(claim.models, models), bounds)


def measure_at_once(
    name: str, runs: Sequence[Run], folder: Path, seeds: Sequence[int], jobs: int, options: Sequence[str]
) -> Stopped | None:
    """Measures a claim's points for several seeds at a time, so that `measure` finds them measured.

    Args:
      name: the claim's name in the catalog.
      runs: its runs, which are trained.
      folder: their folder.
      seeds: the seeds.
      jobs: number of seeds at a time; each gets an equal part of the CPU cores. One more is measured at a time if the
        last round would leave cores idle.
      options: further arguments of `bitdiff.findings`.

    Returns:
      The signal that stopped the measurement, or None.

    Raises:
      UsageError: a measurement failed.
    """
    references = _References(folder)
    for run in runs:
        references.judge_file(run.config)  # otherwise, each process would train its own judge
    pool = [
        Job(
            f"measuring seed {seed} of {name}",
            ["findings", name, "--workdir", str(folder), "--seeds", str(seed), "--jobs", "1", "--noreport", *options],
            folder / f"measuring_{seed}.log",
        )
        for seed in seeds
    ]
    workers = min(jobs + bool(len(seeds) % jobs), len(seeds))
    at_once = f", {workers} at a time" if workers > 1 else ""
    print(f"measuring {counted(len(seeds), 'seed')}{at_once}; logs in {folder}/measuring_*.log", flush=True)
    return run_jobs(pool, workers, title="measuring", unit="seed")


class _References:
    """Caches data sets and judges by config.data, since most of a claim's models share them."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._datasets: dict[str, Dataset] = {}
        self._judges: dict[str, list[Judge]] = {}

    def dataset(self, config: ml_collections.ConfigDict) -> Dataset:
        """The data set of an unresolved config."""
        key = json.dumps(workdir.plain(config.data))
        if key not in self._datasets:
            self._datasets[key] = data.load(config.data)
        return self._datasets[key]

    def judge_file(self, config: ml_collections.ConfigDict) -> Path | None:
        """The file of the classifier for a config's data, trained if necessary; None without labeled images.

        It is also None if the config ignores the labels (num_classes = 0).
        """
        dataset = self.dataset(config)
        judged = dataset.field == "image" and dataset.num_classes > 1 and config.data.num_classes != 0
        return _judge(self._folder, config.data, dataset) if judged else None

    def judges(self, config: ml_collections.ConfigDict, run: Trained) -> list[Judge]:
        """The judges of a run; every claim uses the same ones, so that claims can reuse each other's cells."""
        key = json.dumps(workdir.plain(config.data))
        if key not in self._judges:
            path = self.judge_file(config)
            self._judges[key] = [open_judge(run, path)] if path else []
        return self._judges[key]


def _scores(claim: Claim, points: list[Point], source: Run, step: int, references: _References) -> _Scores:
    """The score of each point of a run, at the checkpoint of a training step, or of the last one (0)."""
    run = load(source.folder, checkpoint=str(step or source.config.train.steps))
    if claim.curve is not None:
        curve = _curve(claim, run, references.dataset(source.config), source.folder)
        return _Scores([curve[point.x] for point in points], [], [], {})
    run, dataset = open_data(run, dataset=references.dataset(source.config))
    judges = references.judges(source.config, run)
    todo = [sample_options(run.config.sample, **point.options) for point in points]
    seed = run.config.evaluate.seed + run.config.seed
    draw = Draw(todo[0], claim.num_samples, seed, run.config.sample.batch_size)
    file = f"sweep_{step}.json" if points[0].step else SWEEP_FILE
    measured = dict(measure_cells(Sweep(run, dataset, judges, draw, file, timed=False), todo))
    values, real = [], []
    for options in todo:
        if claim.score.name not in measured[options]:
            raise UsageError(f"{run.folder} has no score {claim.score.name!r}; it has {', '.join(measured[options])}")
        values.append(measured[options][claim.score.name])
        reference = claim.score.reference or f"{claim.score.name}_real"
        if reference in measured[options]:
            real.append(measured[options][reference])
    bound = _bound(run, dataset, source.folder) if run.task.bound is not None else {}
    return _Scores(values, real, [judge.provenance for judge in judges], bound)


def _curve(claim: Claim, run: Trained, dataset: Dataset, folder: Path) -> dict[float, float]:
    """The scores of a run by x."""
    assert claim.curve is not None
    measure = claim.curve
    run, dataset = open_data(run, dataset=dataset)
    path = folder / f"{claim.score.name}_{claim.num_samples}.json"
    return dict(_saved(path, run, dataset, lambda: list(measure(run, claim.num_samples).items())))


def _bound(run: Trained, dataset: Dataset, folder: Path) -> dict[str, float]:
    """The run's bound on the likelihood of examples, by what it is."""
    value = _saved(folder / "bound.json", run, dataset, lambda: bits_per_value(run, dataset)["bits_per_value"].value)
    return {describe_bound(run, dataset): value}


def _saved(path: Path, run: Trained, dataset: Dataset, measure: Callable[[], Any]) -> Any:
    """What was measured, as JSON, read from the file if that was done before on the same weights and data."""
    facts = comparable(provenance(run, dataset, []))
    if path.exists():
        saved = json.loads(path.read_text())
        if saved.get("provenance") == facts:
            return saved["values"]
    values = measure()
    files.write_text(path, json.dumps({"provenance": facts, "values": values}) + "\n")
    return values


def _judge(folder: Path, options: Any, dataset: Dataset) -> Path:
    """The file of the classifier for a data set's images.

    It is trained unless the file holds one with the same data, epochs and seed.
    """
    path = folder / f"judge_{options.name}_{dataset.shape[0]}.npz"
    wanted = {"data": dataset.about, "epochs": _JUDGE_EPOCHS, "seed": _JUDGE_SEED}
    if not path.exists() or not wanted.items() <= image_classifier.load(path).about.items():
        print(f"training the judge {path.name}", flush=True)
        image_classifier.save(path, train_judge(dataset, epochs=_JUDGE_EPOCHS, seed=_JUDGE_SEED))
    return path
