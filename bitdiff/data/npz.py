"""Arrays from a file: `image` uint8 [N, H, W(, C)] or `tokens` int [N, L], and optionally `label` [N].

An `.npz` file holds them by these names. An `.npy` file holds the images or the tokens alone and is not
read but mapped into memory, so it may be larger than that; labels lie beside it: `x.npy`, `x.label.npy`.
"""

import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset, label_shares, split
from bitdiff.errors import UsageError


def load(options: Any) -> Dataset:
    """Opens the file `options.path`; a vocab_size of 0 is 256 for images, the largest token + 1 for tokens.

    Raises:
      UsageError: no such file, not an `.npz` or `.npy` file, pickled objects in it, or arrays that do not fit.
    """
    path = Path(options.path).expanduser()
    if not options.path or not path.is_file():
        raise UsageError(f"config.data.path: there is no file {str(options.path)!r}")
    arrays = _read(path)
    fields = [name for name in ("image", "tokens") if name in arrays]
    if len(fields) != 1:
        raise UsageError(f"{path} must hold either `image` or `tokens`; it holds: {', '.join(arrays) or 'nothing'}")
    (field,) = fields
    values = _images(path, arrays[field]) if field == "image" else _tokens(path, arrays[field])
    if not len(values):
        raise UsageError(f"{path}: `{field}` holds no examples")
    vocab_size = options.vocab_size or (256 if field == "image" else max(int(values.max()) + 1, 2))
    if values.min() < 0 or values.max() >= vocab_size:
        raise UsageError(
            f"{path}: `{field}` holds values from {values.min()} to {values.max()}, "
            f"outside the vocabulary of {vocab_size} (config.data.vocab_size)"
        )
    examples = {field: values}
    num_classes = 0
    if "label" in arrays:
        examples["label"] = _labels(path, arrays["label"], len(values))
        num_classes = max(options.num_classes, int(examples["label"].max()) + 1)
    train, test = split(Arrays(examples), options.test_fraction)
    return Dataset(
        field=field,
        train=train,
        test=test,
        shape=values.shape[1:],
        vocab_size=vocab_size,
        num_classes=num_classes,
        class_names=tuple(str(i) for i in range(num_classes)),
        about=f"file {path.resolve()}, {len(values)} examples",
        label_shares=label_shares(examples["label"][train.indices], num_classes) if num_classes else (),
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        if path.suffix == ".npy":
            values = np.load(path, mmap_mode="r", allow_pickle=False)
            arrays = {"tokens" if values.ndim == 2 else "image": values}
            labels = path.with_suffix(".label.npy")
            return arrays | ({"label": np.load(labels, allow_pickle=False)} if labels.exists() else {})
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise UsageError(f"{path} is not an .npz file, nor is it named .npy")
        with file:
            _check_unpacked(path, file.zip)
            return {name: file[name] for name in file.files if name in ("image", "tokens", "label")}
    except UsageError:
        raise
    except (ValueError, OSError, EOFError, MemoryError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} cannot be read as a file of plain arrays: {error}") from error


def _check_unpacked(path: Path, archive: zipfile.ZipFile) -> None:
    """A small file can unpack to any size; one larger than the memory is refused before it is read."""
    unpacked = sum(member.file_size for member in archive.infolist())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if unpacked > memory:
        raise UsageError(
            f"{path} unpacks to {unpacked / 2**30:.1f} GiB, and this machine has {memory / 2**30:.1f} GiB of memory; "
            "save the images or tokens as a plain .npy file, which is mapped instead of read"
        )


def _images(path: Path, images: np.ndarray) -> np.ndarray:
    if images.ndim == 3:
        images = images[..., None]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] not in (1, 3):
        raise UsageError(
            f"{path}: `image` is {images.dtype} {list(images.shape)}; it must be uint8 [N, H, W, C] with C 1 or 3"
        )
    if images.shape[1] != images.shape[2]:
        raise UsageError(f"{path}: images are {images.shape[1]} x {images.shape[2]} pixels; they must be square")
    return images


def _tokens(path: Path, tokens: np.ndarray) -> np.ndarray:
    if not np.issubdtype(tokens.dtype, np.integer) or tokens.ndim != 2 or not tokens.shape[1]:
        raise UsageError(f"{path}: `tokens` is {tokens.dtype} {list(tokens.shape)}; it must be an integer array [N, L]")
    if tokens.size and tokens.max() >= 2**30:
        raise UsageError(f"{path}: `tokens` holds {tokens.max()}; values must be below 2^30")
    return tokens if tokens.dtype == np.int32 else tokens.astype(np.int32)


def _labels(path: Path, labels: np.ndarray, count: int) -> np.ndarray:
    if not np.issubdtype(labels.dtype, np.integer) or labels.shape != (count,):
        raise UsageError(
            f"{path}: `label` is {labels.dtype} {list(labels.shape)}; it must be an integer array [{count}]"
        )
    if labels.min() < 0 or labels.max() >= 2**20:
        raise UsageError(f"{path}: `label` runs from {labels.min()} to {labels.max()}; it must count from 0")
    return labels.astype(np.int32)
