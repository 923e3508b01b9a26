"""Scores of generated images against real ones; a score of real test images is named SCORE_real."""

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from bitdiff.data import Dataset, Source
from bitdiff.data.dataset import stack
from bitdiff.metrics import classifier, frechet, neighbours, pixels, sliced
from bitdiff.tasks.task import Score

_REFERENCE_LIMIT = 20_000  # images per split used by the metrics
_COPY_LIMIT = 60_000  # training images that samples are compared with, pixel by pixel
_NEIGHBOUR_LIMIT = 2_000  # test images whose nearest training image is found
_CLASSIFIER_LIMIT = 5_000  # images the classifier is fitted on


class _Split:
    """A split of a data set, compared by identity, so that results for it can be cached."""

    def __init__(self, source: Source):
        self.source = source

    def __hash__(self) -> int:
        return id(self.source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Split) and self.source is other.source


class _Reference(NamedTuple):
    """What samples are compared with.

    train, test: arrays of images and labels; test is {} if there are no test images.
    space: the feature space.
    real, held_out: features of train and test, [N, d].
    closest: the smallest distance above 0 from a test image to a training image; 0 if there is none.
    """

    train: dict[str, np.ndarray]
    test: dict[str, np.ndarray]
    space: pixels.FeatureSpace
    real: np.ndarray
    held_out: np.ndarray
    closest: float


class _Classifier(NamedTuple):
    """A classifier fitted on training images, and the fraction of test images that it assigns to their label.

    classify: features [N, d] -> labels [N].
    accuracy: None without test images.
    """

    classify: Callable[[np.ndarray], np.ndarray]
    accuracy: float | None


def image_scores(outputs: dict[str, np.ndarray], dataset: Dataset) -> dict[str, Score]:
    """Scores outputs['image'] uint8 [N, H, W, C], and outputs['label'] if the model has labels, against the data."""
    facts = (_Split(dataset.train), _Split(dataset.test), dataset.shape, dataset.vocab_size)
    reference = _reference(*facts)
    samples = reference.space.features(outputs["image"])
    scores = _frechet_scores(samples, reference)
    if min(dataset.shape[:2]) >= sliced.MIN_SIZE:
        scores |= _sliced_scores(outputs, reference.train, reference.test)
    if "label" in outputs and "label" in reference.train and len(np.unique(reference.train["label"])) > 1:
        classify, accuracy = _classifier(*facts)
        value = float(np.mean(classify(samples) == outputs["label"]))
        about = "fraction of samples that a support vector classifier fitted on training images assigns to their label"
        scores["classifier_accuracy"] = Score(value, about)
        if accuracy is not None:
            scores["classifier_accuracy_real"] = Score(accuracy, "the same for the test images")
    scores |= _copies(outputs["image"], dataset.train)
    if len(reference.held_out):
        scores["near_copies"] = Score(
            float(np.mean(neighbours.distances(samples, reference.real) < reference.closest)),
            f"fraction of samples closer to one of {len(reference.real)} training images than any test image is",
        )
    return scores


@lru_cache(maxsize=1)  # the cells of a sweep are compared with the same images
def _reference(train: _Split, test: _Split, shape: tuple[int, ...], vocab_size: int) -> _Reference:
    images, others = stack(train.source, _REFERENCE_LIMIT), stack(test.source, _REFERENCE_LIMIT)
    space = pixels.feature_space(shape, vocab_size)
    real = space.features(images["image"])
    held_out = space.features(others["image"]) if others else np.zeros((0, real.shape[1]))
    closest = 0.0
    if len(held_out):
        typical = neighbours.distances(held_out[:: -(-len(held_out) // _NEIGHBOUR_LIMIT)], real)
        closest = float(typical[typical > 0].min()) if typical.any() else 0.0
    return _Reference(images, others, space, real, held_out, closest)


@lru_cache(maxsize=1)
def _classifier(train: _Split, test: _Split, shape: tuple[int, ...], vocab_size: int) -> _Classifier:
    reference = _reference(train, test, shape, vocab_size)
    rows = slice(None, None, -(-len(reference.real) // _CLASSIFIER_LIMIT))
    classify = classifier.fit(reference.real[rows], reference.train["label"][rows])
    if not reference.test:
        return _Classifier(classify, None)
    return _Classifier(classify, float(np.mean(classify(reference.held_out) == reference.test["label"])))


def _copies(images: np.ndarray, train: Source) -> dict[str, Score]:
    """The fraction of images uint8 [N, H, W, C] that are among the first _COPY_LIMIT training images."""
    count = min(len(train), _COPY_LIMIT)
    known, kind = _digests(_Split(train), count), train[0]["image"].dtype
    found = [_digest(image.astype(kind)) in known for image in images]
    return {"copies": Score(float(np.mean(found)), f"fraction of samples equal to one of {count} training images")}


@lru_cache(maxsize=1)
def _digests(train: _Split, count: int) -> frozenset[bytes]:
    return frozenset(_digest(train.source[i]["image"]) for i in range(count))


def _digest(image: np.ndarray) -> bytes:
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def _frechet_scores(samples: np.ndarray, reference: _Reference) -> dict[str, Score]:
    """Frechet distances to the training images, of samples [N, d] and of test images, in the feature space.

    The distance grows as the number of images shrinks, so samples are split into disjoint sets no larger than the test
    set, and the score is the mean over them. With fewer samples than test images, it is not comparable with
    frechet_pixels_real.
    """
    real, held_out, space = reference.real, reference.held_out, reference.space.about
    if len(real) < 2 or len(samples) < 2:
        return {}
    moments = frechet.moments(real)
    size = min(len(held_out) if len(held_out) >= 2 else len(samples), len(samples))
    sets = np.split(samples[: len(samples) // size * size], len(samples) // size)
    value = float(np.mean([frechet.distance(frechet.moments(s), moments) for s in sets]))
    about = f"{space} distance (not FID) to the training images; mean over {len(sets)} sets of {size} samples"
    if size <= real.shape[1]:
        about += f"; mostly bias, since {size} samples cannot estimate a covariance in {real.shape[1]} dimensions"
    scores = {"frechet_pixels": Score(value, about)}
    if len(held_out) >= 2:
        value = frechet.distance(frechet.moments(held_out), moments)
        scores["frechet_pixels_real"] = Score(value, f"the same for the {len(held_out)} test images")
    return scores


def _sliced_scores(outputs: dict, train: dict, test: dict) -> dict[str, Score]:
    """Sliced Wasserstein distances to the training images, of samples and of test images."""
    count = min(len(outputs["image"]), len(test["image"]) if test else len(outputs["image"]))
    scores = {}
    for name, images, what in (("swd", outputs, "samples"), ("swd_real", test, "test images")):
        if not images:
            continue
        chosen = images["image"][np.arange(count) * len(images["image"]) // count]
        levels = sliced.distances(chosen, train["image"])
        about = f"sliced Wasserstein distance (not FID) between patches of {what} and of training images"
        scores[name] = Score(
            float(np.mean(list(levels.values()))), f"{about}, in standard deviations; mean over all levels"
        )
        for size, value in levels.items():
            scores[f"{name}_{size}"] = Score(value, f"the same at {size} pixels")
    return scores
