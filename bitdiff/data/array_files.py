"""Arrays from a file or from memory: `image` uint8 [N, H, W(, C)] or `tokens` int [N, L], optionally `label` [N].

An `.npz` file holds them under these names. An `.npy` file holds only the images or the tokens and is memory-mapped, so
it may be larger than memory; its labels are in a file beside it: `x.npy`, `x.label.npy`.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset, label_frequencies, split
from bitdiff.runtime import files
from bitdiff.runtime.errors import UsageError

_log = logging.getLogger(__name__)


class _Int32Tokens(Arrays):
    """Arrays whose tokens are converted to int32 when they are read, so that a memory-mapped file stays on disk."""

    def __getitem__(self, index: int) -> dict[str, Any]:
        return _converted(super().__getitem__(index))

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Several examples as new arrays [N, ...]."""
        return _converted(super().take(indices))


def from_arrays(
    arrays: Mapping[str, np.ndarray],
    *,
    vocab_size: int = 0,
    num_classes: int = 0,
    test_fraction: float = 0.1,
    about: str = "arrays in memory",
) -> Dataset:
    """A data set of arrays in memory.

    Args:
      arrays: either 'image' uint8 [N, H, W(, C)] or 'tokens' int [N, L], and optionally 'label' int [N].
      vocab_size: values a pixel channel or a token can take; 0 for 256, or the largest token + 1.
      num_classes: number of classes; at least the largest label + 1.
      test_fraction: fraction of the examples held out for evaluation, in [0, 1).
      about: where the data come from, for messages and evaluations.

    Raises:
      UsageError: the arrays have an unsupported dtype, shape or range.
    """
    fields = [name for name in ("image", "tokens") if name in arrays]
    if len(fields) != 1:
        raise UsageError(f"{about} must hold either `image` or `tokens`; it holds: {', '.join(arrays) or 'nothing'}")
    (field,) = fields
    values = np.asanyarray(arrays[field])
    values = _images(about, values) if field == "image" else _tokens(about, values)
    if not len(values):
        raise UsageError(f"{about}: `{field}` holds no examples")
    vocab_size = vocab_size or (256 if field == "image" else max(int(values.max()) + 1, 2))
    if values.min() < 0 or values.max() >= vocab_size:
        raise UsageError(
            f"{about}: `{field}` holds values from {values.min()} to {values.max()}, "
            f"outside the vocabulary of {vocab_size} (config.data.vocab_size)"
        )
    examples = {field: values}
    if "label" in arrays:
        examples["label"] = _labels(about, np.asarray(arrays["label"]), len(values))
        num_classes = max(num_classes, int(examples["label"].max()) + 1)
        _warn_of_empty_classes(about, examples["label"], num_classes)
    else:
        num_classes = 0
    train, test = split(_Int32Tokens(examples), test_fraction)
    return Dataset(
        field=field,
        train=train,
        test=test,
        shape=values.shape[1:],
        vocab_size=vocab_size,
        num_classes=num_classes,
        class_names=tuple(str(i) for i in range(num_classes)),
        about=f"{about}, {len(values)} examples",
        label_frequencies=label_frequencies(examples["label"][train.indices], num_classes) if num_classes else (),
    )


def load(options: Any) -> Dataset:
    """Opens the file `options.path`; a vocab_size of 0 means 256 for images, or the largest token + 1 for tokens.

    Raises:
      UsageError: no such file, not an `.npz` or `.npy` file, pickled objects in it, or arrays that do not fit.
    """
    path = Path(options.path).expanduser()
    if not options.path or not path.is_file():
        raise UsageError(f"config.data.path: there is no file {str(options.path)!r}")
    return from_arrays(
        _read(path),
        vocab_size=options.vocab_size,
        num_classes=options.num_classes,
        test_fraction=options.test_fraction,
        about=f"file {path.resolve()}",
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npy":
        return files.read_arrays(path, ["image", "tokens", "label"])
    try:
        values = np.load(path, mmap_mode="r", allow_pickle=False)
        arrays = {"tokens" if values.ndim == 2 else "image": values}
        labels = path.with_suffix(".label.npy")
        return arrays | ({"label": np.load(labels, allow_pickle=False)} if labels.exists() else {})
    except files.ARRAY_ERRORS as error:
        raise UsageError(f"{path} cannot be read as an .npy file of a plain array: {error}") from error


def _images(about: str, images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise UsageError(
            f"{about}: `image` is {images.dtype} {list(images.shape)}; it must be uint8 [N, H, W, C] with C 1 or 3"
        )
    if images.shape[1] != images.shape[2]:
        raise UsageError(f"{about}: images are {images.shape[1]} x {images.shape[2]} pixels; they must be square")
    return images


def _tokens(about: str, tokens: np.ndarray) -> np.ndarray:
    if not np.issubdtype(tokens.dtype, np.integer) or tokens.ndim != 2 or not tokens.shape[1]:
        raise UsageError(
            f"{about}: `tokens` is {tokens.dtype} {list(tokens.shape)}; it must be an integer array [N, L]"
        )
    if tokens.size and tokens.max() >= 2**30:
        raise UsageError(f"{about}: `tokens` holds {tokens.max()}; values must be below 2^30")
    return tokens


def _converted(example: dict[str, Any]) -> dict[str, Any]:
    return example | {"tokens": example["tokens"].astype(np.int32)} if "tokens" in example else example


def _warn_of_empty_classes(about: str, labels: np.ndarray, num_classes: int) -> None:
    """Logs a warning if most classes are empty, e.g. because of a stray label: each class adds parameters."""
    found = len(np.unique(labels))
    if found <= num_classes // 2:
        _log.warning(
            "%s: labels go up to %d, so the model gets %d classes, but only %d of them have examples",
            about,
            labels.max(),
            num_classes,
            found,
        )


def _labels(about: str, labels: np.ndarray, count: int) -> np.ndarray:
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,):
        raise UsageError(
            f"{about}: `label` is {labels.dtype} {list(labels.shape)}; it must be an integer array [{count}]"
        )
    if labels.min() < 0 or labels.max() >= 2**20:
        raise UsageError(
            f"{about}: `label` ranges from {labels.min()} to {labels.max()}; labels must be from 0 to 2^20 - 1"
        )
    return labels.astype(np.int32)
