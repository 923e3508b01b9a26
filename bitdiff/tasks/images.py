"""Images as analog bits: uint8 [H, W, C], denoised by the U-Net."""

import hashlib
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import numpy as np

from bitdiff.conditions import Condition
from bitdiff.data import Dataset, Source
from bitdiff.data.dataset import stack
from bitdiff.metrics import classifier, frechet, neighbours, pixels, sliced
from bitdiff.tasks.bit_scores import bit_scores
from bitdiff.tasks.denoiser import Layout
from bitdiff.tasks.denoising import make_denoising_task
from bitdiff.tasks.latent_scores import latent_scores
from bitdiff.tasks.options import SampleOptions
from bitdiff.tasks.task import Score, Task

_REFERENCE_LIMIT = 20_000  # images per split used by the metrics
_COPY_LIMIT = 60_000  # training images that samples are compared with, pixel by pixel
_NEIGHBOUR_LIMIT = 2_000  # test images whose nearest training image is found
_CLASSIFIER_LIMIT = 5_000  # images the classifier is fitted on


def make_image_task(config: Any, network: nn.Module | None = None, conditions: Sequence[Condition] = ()) -> Task:
    """Bit Diffusion of images with the size and channels in config.data.

    Raises:
      UsageError: see `make_denoising_task`.
    """
    size = config.data.image_size

    def evaluate_images(outputs, dataset, options):
        scores = bit_scores(outputs, config.bits.encoding) | evaluate(outputs, dataset, options)
        return scores | latent_scores(outputs)

    layout = Layout("image", (size, size), config.data.channels)
    return make_denoising_task(config, layout, evaluate_images, network, conditions)


def evaluate(outputs: dict[str, np.ndarray], dataset: Dataset, options: SampleOptions) -> dict[str, Score]:
    """Scores generated images against the data, each next to the same score for real test images."""
    del options
    train, test = (stack(split, _REFERENCE_LIMIT) for split in (dataset.train, dataset.test))
    space = pixels.feature_space(dataset.shape, dataset.vocab_size)
    samples, real = (space.features(images["image"]) for images in (outputs, train))
    held_out = space.features(test["image"]) if test else np.zeros((0, samples.shape[1]))
    scores = _frechet_scores(samples, real, held_out, space.about)
    if min(dataset.shape[:2]) >= sliced.MIN_SIZE:
        scores |= _sliced_scores(outputs, train, test)
    if "label" in outputs and "label" in train and len(np.unique(train["label"])) > 1:
        scores |= _classifier_scores((samples, outputs), (real, train), (held_out, test))
    scores |= _copies(outputs["image"], dataset.train)
    if len(held_out):
        typical = neighbours.distances(held_out[:: -(-len(held_out) // _NEIGHBOUR_LIMIT)], real)
        closest = typical[typical > 0].min() if typical.any() else 0.0
        scores["near_copies"] = Score(
            float(np.mean(neighbours.distances(samples, real) < closest)),
            f"fraction of samples closer to one of {len(real)} training images than any test image is",
        )
    return scores


def _copies(images: np.ndarray, train: Source) -> dict[str, Score]:
    """The fraction of images uint8 [N, H, W, C] that are among the first _COPY_LIMIT training images."""
    count = min(len(train), _COPY_LIMIT)
    known = {hashlib.blake2b(train[i]["image"].tobytes(), digest_size=16).digest() for i in range(count)}
    kind = train[0]["image"].dtype
    found = [hashlib.blake2b(image.astype(kind).tobytes(), digest_size=16).digest() in known for image in images]
    return {"copies": Score(float(np.mean(found)), f"fraction of samples equal to one of {count} training images")}


def _frechet_scores(samples: np.ndarray, real: np.ndarray, held_out: np.ndarray, space: str) -> dict[str, Score]:
    """Frechet distances to the training images, of samples and of test images, in a space of features [N, d].

    Samples are compared in sets as large as the test set, since the distance grows as the number of images shrinks;
    the score is the mean over disjoint sets.
    """
    if len(real) < 2 or len(samples) < 2:
        return {}
    reference = frechet.moments(real)
    size = min(len(held_out) if len(held_out) >= 2 else len(samples), len(samples))
    sets = np.split(samples[: len(samples) // size * size], len(samples) // size)
    value = float(np.mean([frechet.distance(frechet.moments(s), reference) for s in sets]))
    about = f"{space} distance (not FID) to the training images; mean over {len(sets)} sets of {size} samples"
    if size <= real.shape[1]:
        about += f"; mostly bias, since {size} samples cannot estimate a covariance in {real.shape[1]} dimensions"
    scores = {"frechet_pixels": Score(value, about)}
    if len(held_out) >= 2:
        value = frechet.distance(frechet.moments(held_out), reference)
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


def _classifier_scores(samples: tuple, real: tuple, held_out: tuple) -> dict[str, Score]:
    """Accuracy of a classifier of real images on samples and test images; each (features, arrays with 'label')."""
    features, train = real
    rows = slice(None, None, -(-len(features) // _CLASSIFIER_LIMIT))
    classify = classifier.fit(features[rows], train["label"][rows])
    value = float(np.mean(classify(samples[0]) == samples[1]["label"]))
    about = "fraction of samples that a support vector classifier fitted on training images assigns to their label"
    scores = {"classifier_accuracy": Score(value, about)}
    if len(held_out[0]):
        value = float(np.mean(classify(held_out[0]) == held_out[1]["label"]))
        scores["classifier_accuracy_real"] = Score(value, "the same for the test images")
    return scores
