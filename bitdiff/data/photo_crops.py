"""Crops of the two photographs in scikit-learn's wheel: real 8-bit color images that need no download.

Training crops come from the left three quarters of a photograph, test crops from the rest; no pixel is in both.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from bitdiff.data.dataset import Dataset
from bitdiff.runtime.errors import UsageError

_NAMES = ("china", "flower")
_TRAIN_FRACTION = 0.75
_TRAIN_STRIDE, _TEST_STRIDE = 2, 4


@dataclass(frozen=True)
class Crops:
    """All crops of size x size pixels at a stride: 'image' uint8 [size, size, 3] and 'label', its photograph."""

    regions: tuple[np.ndarray, ...]
    size: int
    stride: int

    def _counts(self, region: np.ndarray) -> tuple[int, int]:
        rows, columns = ((length - self.size) // self.stride + 1 for length in region.shape[:2])
        return rows, columns

    def __len__(self) -> int:
        return sum(rows * columns for rows, columns in map(self._counts, self.regions))

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        for label, region in enumerate(self.regions):
            rows, columns = self._counts(region)
            if index < rows * columns:
                top, left = (self.stride * i for i in divmod(index, columns))
                crop = region[top : top + self.size, left : left + self.size]
                return {"image": crop, "label": np.int32(label)}
            index -= rows * columns
        raise IndexError(index)


def load(options: Any) -> Dataset:
    """Crops of options.image_size pixels (8 to 64), with one class per photograph.

    Raises:
      UsageError: image_size is out of range.
    """
    size = options.image_size
    if not 8 <= size <= 64:
        raise UsageError(f"config.data.image_size is {size}; crops of photographs must be 8 to 64 pixels wide")
    from sklearn.datasets import load_sample_image

    photos = [np.asarray(load_sample_image(f"{name}.jpg"), np.uint8) for name in _NAMES]
    edges = [int(photo.shape[1] * _TRAIN_FRACTION) for photo in photos]
    train = Crops(tuple(p[:, :edge] for p, edge in zip(photos, edges, strict=True)), size, _TRAIN_STRIDE)
    test = Crops(tuple(p[:, edge:] for p, edge in zip(photos, edges, strict=True)), size, _TEST_STRIDE)
    return Dataset(
        field="image",
        train=train,
        test=test,
        shape=(size, size, 3),
        vocab_size=256,
        num_classes=len(_NAMES),
        class_names=_NAMES,
        about=f"{size} x {size} crops of scikit-learn's photographs {' and '.join(_NAMES)}",
    )
