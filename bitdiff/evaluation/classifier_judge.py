"""Scores generated images with a classifier trained on real ones: Frechet distance, precision, recall, accuracy."""

import logging
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data import Dataset
from bitdiff.data.dataset import stack
from bitdiff.evaluation.judge import Judge
from bitdiff.inference.trained import Trained
from bitdiff.metrics import feature_scores, frechet, image_classifier
from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import Score

_log = logging.getLogger(__name__)
_MOST_TRAINING = 20_000  # training images of the reference
_MOST_NEIGHBOURS = 2_000  # images on each side of precision and recall


def train_judge(dataset: Dataset, *, epochs: int, seed: int) -> image_classifier.Trained:
    """Trains a classifier on the training images of a data set, and measures it on the test images.

    Raises:
      UsageError: the data are not labeled images, or have no test images.
    """
    if dataset.field != "image" or dataset.num_classes < 2 or dataset.vocab_size > 256:
        raise UsageError(f"a judge is trained on labeled 8-bit images; the data are {dataset.about}")
    if not len(dataset.test):
        raise UsageError(f"a judge is measured on test images, but the data have none: {dataset.about}")
    images = stack(dataset.train)
    with progress_bar("training", "image", total=epochs * len(images["image"]), shown=True) as bar:
        variables = image_classifier.train(
            images["image"],
            images["label"],
            vocab_size=dataset.vocab_size,
            num_classes=dataset.num_classes,
            epochs=epochs,
            seed=seed,
            progress=bar.update,
        )
    size, _, channels = dataset.shape
    facts: dict[str, Any] = {"shape": (size, size, channels), "vocab_size": dataset.vocab_size}
    about = {"data": dataset.about, "epochs": epochs, "seed": seed}
    judge = image_classifier.describe(variables, num_classes=dataset.num_classes, about=about, **facts)
    accuracy = _accuracy(judge, stack(dataset.test))
    return judge._replace(about=about | {"test_accuracy": round(accuracy, 4)})


def open_judge(run: Trained, path: Path) -> Judge:
    """The judge in a file written by `bitdiff.train_judge`.

    Raises:
      UsageError: a bad file, or a model that does not generate images of the classifier's shape.
    """
    classifier, data = image_classifier.load(path), run.config.data
    own = (data.image_size, data.image_size, data.channels)
    if run.task.field != "image":
        raise UsageError(f"--judge: {path} judges images, but the model generates {run.task.field}")
    if (own, data.vocab_size) != (classifier.shape, classifier.vocab_size):
        raise UsageError(
            f"--judge: {path} judges images of {list(classifier.shape)} with {classifier.vocab_size} levels; the model "
            f"generates images of {list(own)} with {data.vocab_size}"
        )
    if data.num_classes and data.num_classes != classifier.num_classes:
        raise UsageError(
            f"--judge: {path} distinguishes {classifier.num_classes} classes, and the model has {data.num_classes}"
        )
    facts = {"sha256": classifier.sha256, **classifier.about}
    return Judge("judge", facts, partial(_scores, classifier, {}))


def _scores(
    judge: image_classifier.Trained, known: dict[str, np.ndarray], outputs: dict[str, np.ndarray], dataset: Dataset
) -> dict[str, Score]:
    """The scores of the samples, and the same scores of test images.

    All but the accuracy depend on the number of images. The Frechet distance is therefore the mean over sets of samples
    as large as the set of test images, and precision and recall use the first set. `known` keeps the features of the
    training images for further calls with the same data set.
    """
    test = stack(dataset.test, len(outputs["image"]))
    size = len(test["image"]) if test else len(outputs["image"])
    if dataset.about not in known:
        if judge.about.get("data", dataset.about) != dataset.about:
            _log.warning(
                "the judge was trained on %s, but the samples are compared with %s", judge.about["data"], dataset.about
            )
        known[dataset.about], _ = image_classifier.apply(judge, stack(dataset.train, _MOST_TRAINING)["image"])
    real = known[dataset.about]
    scores: dict[str, Score] = {}
    for suffix, images, what in (("", outputs, "samples"), ("_real", test, "test images")):
        if not images:
            continue
        features, logits = image_classifier.apply(judge, images["image"])
        sets = np.split(features[: len(features) // size * size], len(features) // size)
        against = f"{len(real)} training images, features of {judge.name}"
        if min(size, len(real)) > 1:
            reference = frechet.moments(real)
            distance = float(np.mean([frechet.distance(frechet.moments(one), reference) for one in sets]))
            mean = "" if len(sets) == 1 else f"; mean over {len(sets)} sets of samples"
            scores[f"judge_frechet{suffix}"] = Score(
                distance, f"Frechet distance (not FID) between {size} {what} and {against}{mean}"
            )
        if min(size, len(real)) > feature_scores.NEIGHBOURS:
            some, others = (array[:: -(-len(array) // _MOST_NEIGHBOURS)] for array in (sets[0], real))
            found = feature_scores.precision_recall(some, others)
            for name, value in zip(("precision", "recall"), found, strict=True):
                about = f"{name} of {len(some)} {what} against {len(others)} training images, features of {judge.name}"
                scores[f"judge_{name}{suffix}"] = Score(value, about)
        if "label" in images:
            value = float(np.mean(logits.argmax(1) == images["label"]))
            scores[f"judge_accuracy{suffix}"] = Score(
                value, f"fraction of {what} that {judge.name} classifies as their label"
            )
    return scores


def _accuracy(judge: image_classifier.Trained, images: dict[str, np.ndarray]) -> float:
    _, logits = image_classifier.apply(judge, images["image"])
    return float(np.mean(logits.argmax(1) == images["label"]))
