"""scikit-learn's digits: 1,797 real 8 x 8 images with 17 gray levels, shipped in its wheel."""

from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset, label_frequencies, split

_TEST_FRACTION = 0.2


def load(options: Any) -> Dataset:
    """The digits, 1,438 for training and 359 for testing; it has no options."""
    del options
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    images = digits.images.astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int32)
    train, test = split(Arrays({"image": images, "label": labels}), _TEST_FRACTION)
    return Dataset(
        field="image",
        train=train,
        test=test,
        shape=(8, 8, 1),
        vocab_size=17,
        num_classes=10,
        class_names=tuple(str(name) for name in digits.target_names),
        about="scikit-learn digits, 8 x 8, 17 gray levels, 1,438 train / 359 test",
        label_frequencies=label_frequencies(labels[train.indices], 10),
    )
