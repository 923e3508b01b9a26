"""Scores of a trained model, and their provenance."""

import json
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bitdiff import data
from bitdiff.data.dataset import assign_labels
from bitdiff.data.loading import BUILT_IN
from bitdiff.evaluation.judge import Judge
from bitdiff.figures import plots
from bitdiff.inference.draws import Draw, draw
from bitdiff.inference.trained import Trained, report_folder
from bitdiff.metrics import captions
from bitdiff.metrics.consensus import consensus
from bitdiff.runtime import files
from bitdiff.runtime.devices import describe_devices
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.version import __version__
from bitdiff.tasks import Score, examples_for, make_task, network_evaluations
from bitdiff.training import workdir

_log = logging.getLogger(__name__)
_FEW_SAMPLES = 200
# Incremented whenever the meaning of a score changes, so that `bitdiff.sweep` does not reuse cells measured before.
SCORES_VERSION = 2


def open_data(
    run: Trained,
    path: str | None = None,
    tokenizer: str | None = None,
    candidates: int | None = None,
    dataset: data.Dataset | None = None,
) -> tuple[Trained, data.Dataset]:
    """The data set a run was trained on, and the run with a config that describes it as it is now.

    Args:
      run: the model.
      path: where the data are now; by default the config's path.
      tokenizer: how captions are split into words; by default the config's tokenizer.
      candidates: captions per picture to choose from; by default the config's number.
      dataset: the data set, if it is already loaded.

    Raises:
      UsageError: the data cannot be used, differ from the config, or are built in although a path is given; or the
        tokenizer is unknown or not installed.
    """
    config = run.config.copy_and_resolve_references()
    if path is not None:
        if config.data.name in BUILT_IN:
            raise UsageError(f"--data_path is {path}, but the data set {config.data.name!r} is not read from a path")
        config.data.path = path
    if tokenizer is not None:
        config.evaluate.tokenizer = tokenizer
    if candidates is not None:
        config.evaluate.candidates = candidates
    if config.task == "confidence":
        config.data.distilled = ""  # the poses it was trained on are not needed
    captions.check_tokenizer(config.evaluate.tokenizer)
    dataset = data.load(config.data) if dataset is None else dataset
    config = data.resolve(config, dataset)
    return run._replace(config=config, task=make_task(config)), dataset


def measure(
    run: Trained, request: Draw, dataset: data.Dataset, judges: Sequence[Judge] = ()
) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Draws samples with the label frequencies of the training data, and scores them.

    Args:
      run: the model.
      request: which samples.
      dataset: the data set to compare with.
      judges: these score the samples in addition to the task.

    Returns:
      (scores by name, the samples).

    Raises:
      UsageError: more captions were requested than there are test pictures.
    """
    labels = None
    examples = examples_for(run.task, dataset)
    if run.config.data.num_classes and dataset.label_frequencies and examples is None:
        labels = assign_labels(dataset.label_frequencies, request.num_samples)
    if dataset.field == "captions" and examples is not None and request.num_samples > len(examples):
        raise UsageError(
            f"{request.num_samples} captions were requested, one per test picture, but there are only {len(examples)}; "
            "lower --num_samples (config.evaluate.num_samples)"
        )
    if request.num_samples < _FEW_SAMPLES:
        _log.warning(
            "%d samples: fractions are uncertain by %.0f percentage points, and distances are biased; use %d or more",
            request.num_samples,
            50 / request.num_samples**0.5,
            _FEW_SAMPLES,
        )
    candidates = run.config.evaluate.candidates
    if candidates > 1:
        outputs = _draw_by_consensus(run, request, dataset, candidates)
    else:
        outputs = draw(run.task, run.params, request, labels=labels, examples=examples)
    scores = run.task.evaluate(outputs, dataset, request.options)
    for judge in judges:
        scores |= judge.scores(outputs, dataset)
    return scores, outputs


def _draw_by_consensus(run: Trained, request: Draw, dataset: data.Dataset, candidates: int) -> dict[str, np.ndarray]:
    """Draws several captions of each test picture, and keeps the one that agrees best with the others.

    Raises:
      UsageError: the model does not describe pictures.
    """
    examples, count = examples_for(run.task, dataset), request.num_samples
    if dataset.field != "captions" or examples is None or run.tokenizer is None:
        raise UsageError(
            f"config.evaluate.candidates is {candidates}; it must be 1 for a model that describes no pictures"
        )
    shown = data.dataset.Subset(examples, range(count))  # sample i describes picture i % count
    many = request._replace(num_samples=count * candidates)
    outputs = draw(run.task, run.params, many, examples=shown)
    texts = np.array(run.tokenizer.texts(outputs["tokens"])).reshape(candidates, count)
    chosen = [consensus(column.tolist()) * count + i for i, column in enumerate(texts.T)]
    return {name: array[chosen] for name, array in outputs.items()}


def provenance(run: Trained, dataset: data.Dataset, judges: Sequence[Judge]) -> dict[str, Any]:
    """The provenance of scores: versions, weights, data and judges, as plain JSON."""
    base = run.config.first if run.config.task == "confidence" else run.config  # describes the samples
    pointers = base.task == "docking" and base.latents.count
    return {
        "bitdiff": __version__,
        "jax": f"{jax.__version__} on {describe_devices()}",
        "workdir": str(run.folder),
        "step": run.step,
        "weights": f"moving average, decay {run.config.optimizer.ema_decay}" if run.weights == "ema" else "raw",
        "data": dataset.about,
        "labels": _about_labels(run, dataset),
        "prior": workdir.plain(base.prior) if base.task == "prior" else None,
        "latents": "inferred from test examples" if run.task.infer or pointers else None,
        "candidates": run.config.evaluate.candidates,
        "words": run.config.evaluate.tokenizer if dataset.field == "captions" else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "reference": None,
        "scores": SCORES_VERSION,
    } | {judge.name: judge.provenance for judge in judges}


def write_report(
    run: Trained,
    request: Draw,
    dataset: data.Dataset,
    judges: Sequence[Judge],
    results: tuple[dict[str, Score], dict[str, np.ndarray]],
) -> list[Path]:
    """Writes evaluation.json to the folder of `report_folder`, with a plot of the bits or the captions beside it.

    Args:
      run: the model.
      request: the samples that were scored.
      dataset: the data set they were compared with.
      judges: those that scored the samples in addition to the task.
      results: what `measure` returned.

    Returns:
      The paths of the files.
    """
    scores, outputs = results
    options = request.options
    report: dict[str, Any] = {
        "scores": {name: score._asdict() for name, score in scores.items()},
        "provenance": provenance(run, dataset, judges)
        | {"num_samples": request.num_samples, "seed": request.seed}
        | {"sampling": options._asdict() | {"schedule_options": dict(options.schedule_options)}}
        | {"evaluations": network_evaluations(options, run.task)},
    }
    folder = report_folder(run)
    written = [folder / "evaluation.json"]
    if "histogram" in outputs:
        scale, counts = run.config.bits.scale, outputs["histogram"].sum(0).tolist()
        report["analog_bits"] = {"from": -scale, "to": scale, "counts": counts}
        written.append(folder / "analog_bits.png")
        plots.histogram(written[-1], counts, scale)
    if dataset.field == "captions" and run.tokenizer:
        numbers = [int(i) for i in outputs["source"]]
        test: Any = dataset.test
        ids = [test.id(i) for i in numbers] if hasattr(test, "id") else numbers
        written.append(folder / "captions.json")
        files.write_text(written[-1], captions.results(ids, run.tokenizer.texts(outputs["tokens"])))
    files.write_text(written[0], json.dumps(report, indent=2) + "\n")
    return written


def _about_labels(run: Trained, dataset: data.Dataset) -> str | None:
    if run.task.field == "pose":
        return None
    if run.task.uses_examples:
        return "those of the test examples"
    return "with the frequencies of the training data" if dataset.label_frequencies else "all classes equally often"
