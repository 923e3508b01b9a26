"""Images as analog bits: uint8 [H, W, C], denoised by the U-Net."""

from typing import Any

import numpy as np

from bitdiff.data import Dataset
from bitdiff.data.dataset import stack
from bitdiff.metrics import classifier, frechet, neighbours, pixels, sliced
from bitdiff.tasks.denoising import bit_scores, make_denoising_task
from bitdiff.tasks.task import SampleOptions, Score, Task

_REFERENCE_LIMIT = 20_000  # images of each split that the metrics look at
_NEIGHBOUR_LIMIT = 2_000  # test images whose nearest training image is sought
_CLASSIFIER_LIMIT = 5_000  # images that the classifier is fitted on


def make_image_task(config: Any) -> Task:
    """Bit Diffusion of images of config.data.image_size and config.data.channels."""
    size = config.data.image_size

    def evaluate_images(outputs, dataset, options):
        return bit_scores(outputs, config.bits.encoding) | evaluate(outputs, dataset, options)

    return make_denoising_task(
        config, field="image", grid=(size, size), channels=config.data.channels, evaluate=evaluate_images
    )


def evaluate(outputs: dict[str, np.ndarray], dataset: Dataset, options: SampleOptions) -> dict[str, Score]:
    """Scores generated images against the data, each beside the same number for real test images.

    Frechet distances are taken between the training images and equally many generated as test images,
    since the distance grows as the number of images shrinks; the mean over disjoint sets is given.
    """
    del options
    train, test = (stack(split, _REFERENCE_LIMIT) for split in (dataset.train, dataset.test))
    space = pixels.feature_space(dataset.shape, dataset.vocab_size)
    samples, real = (space.features(images["image"]) for images in (outputs, train))
    held_out = space.features(test["image"]) if test else np.zeros((0, samples.shape[1]))
    scores = {}
    if len(real) >= 2 and len(samples) >= 2:
        reference = frechet.moments(real)
        size = min(len(held_out) if len(held_out) >= 2 else len(samples), len(samples))
        sets = np.split(samples[: len(samples) // size * size], len(samples) // size)
        value = float(np.mean([frechet.distance(frechet.moments(s), reference) for s in sets]))
        about = f"{space.about} distance (not FID) to the training images; mean over {len(sets)} x {size} samples"
        scores["frechet_pixels"] = Score(value, about)
        if len(held_out) >= 2:
            value = frechet.distance(frechet.moments(held_out), reference)
            scores["frechet_pixels_real"] = Score(value, f"the same for the {len(held_out)} test images")
    if min(dataset.shape[:2]) >= sliced.MIN_SIZE:
        count = min(len(outputs["image"]), len(test["image"]) if test else len(outputs["image"]))
        for name, images, what in (("swd", outputs, "samples"), ("swd_real", test, "test images")):
            if images:
                chosen = images["image"][np.arange(count) * len(images["image"]) // count]
                levels = sliced.distances(chosen, train["image"])
                about = f"sliced Wasserstein distance (not FID) of patches of {what} to those of training images"
                scores[name] = Score(
                    float(np.mean(list(levels.values()))), f"{about}, in deviations; mean of all levels"
                )
                for size, value in levels.items():
                    scores[f"{name}_{size}"] = Score(value, f"the same at {size} pixels")
    if "label" in outputs and "label" in train and len(np.unique(train["label"])) > 1:
        rows = slice(None, None, -(-len(real) // _CLASSIFIER_LIMIT))
        classify = classifier.fit(real[rows], train["label"][rows])
        value = float(np.mean(classify(samples) == outputs["label"]))
        scores["classifier_accuracy"] = Score(
            value, "share of samples that a support vector classifier, fitted on training images, takes for their label"
        )
        if len(held_out):
            value = float(np.mean(classify(held_out) == test["label"]))
            scores["classifier_accuracy_real"] = Score(value, "the same for the test images")
    known = {image.tobytes() for image in train["image"]}
    copies = [image.astype(train["image"].dtype).tobytes() in known for image in outputs["image"]]
    scores["copies"] = Score(float(np.mean(copies)), "share of samples equal to a training image")
    if len(held_out):
        typical = neighbours.distances(held_out[:: -(-len(held_out) // _NEIGHBOUR_LIMIT)], real)
        closest = typical[typical > 0].min() if typical.any() else 0.0
        scores["near_copies"] = Score(
            float(np.mean(neighbours.distances(samples, real) < closest)),
            "share of samples nearer to a training image than any test image is",
        )
    return scores
