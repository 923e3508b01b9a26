"""A folder of IDX files, the format of MNIST, Fashion-MNIST, KMNIST and EMNIST, as downloaded or decompressed.

A split named `train` consists of `train-images-idx3-ubyte` and `train-labels-idx1-ubyte`, each possibly with `.gz`.
"""

import gzip
import math
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bitdiff.data.dataset import Arrays, Dataset, label_frequencies
from bitdiff.data.resizing import check_method, check_size, to_pixels
from bitdiff.runtime.errors import UsageError

_MAGIC = {3: 0x00000803, 1: 0x00000801}  # two zero bytes, 8 for unsigned bytes, the number of dimensions
_IMAGES = re.compile(r"(?P<split>.+)-images[-.]idx3-ubyte(\.gz)?")
_TRAIN, _TEST = ("train",), ("t10k", "test")
_MOST_VALUES = 2**31
_TRANSPOSED = "emnist-"  # EMNIST's files hold images column by column


def load(options: Any) -> Dataset:
    """Reads the two splits of the folder `options.path` into memory.

    The splits are `options.train_split` and `options.test_split`; by default the one whose name ends in train, and the
    one whose name ends in t10k or test. If image_size is 0, the images keep their size.

    Raises:
      UsageError: no such folder, split or labels, a damaged file, or images of a different size without a resize
        method.
    """
    root = Path(options.path).expanduser()
    if not options.path or not root.is_dir():
        raise UsageError(f"config.data.path: there is no folder {str(options.path)!r}")
    check_method(options.resize)
    if options.channels > 1:
        raise UsageError(f"config.data.channels is {options.channels}; images in IDX files have 1 (gray)")
    found = _find(root)
    names = [
        _choose(root, found, options[field], field, endings)
        for field, endings in (("train_split", _TRAIN), ("test_split", _TEST))
    ]
    train, test = (_read_split(name, found[name], options) for name in names)
    size = train["image"].shape[1]
    labels = np.concatenate([train["label"], test["label"]])
    first, num_classes = int(labels.min()), int(np.ptp(labels)) + 1
    for split in (train, test):
        split["label"] -= first  # EMNIST's letters are labeled from 1
    if test["image"].shape[1] != size:
        sizes = f"{size} pixels wide in {names[0]} and {test['image'].shape[1]} in {names[1]}"
        raise UsageError(f"{root}: images are {sizes}; set config.data.image_size and config.data.resize")
    return Dataset(
        field="image",
        train=Arrays(train),
        test=Arrays(test),
        shape=(size, size, 1),
        vocab_size=256,
        num_classes=num_classes,
        class_names=tuple(map(str, range(first, first + num_classes))),
        about=f"IDX files in {root.resolve()}, {len(train['label'])} {names[0]} / {len(test['label'])} {names[1]}, "
        f"resize {options.resize}",
        label_frequencies=label_frequencies(train["label"], num_classes),
    )


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """The array of unsigned bytes in an IDX file, which is decompressed if its name ends in .gz.

    Raises:
      UsageError: the file cannot be read, has another type or number of dimensions, or does not have the size that its
        header states.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(4 + 4 * dimensions)
            magic, *shape = (int.from_bytes(header[i : i + 4], "big") for i in range(0, len(header), 4))
            if magic != _MAGIC[dimensions] or len(shape) != dimensions:
                raise UsageError(
                    f"{path} starts with the number {magic:#010x}; an IDX file of unsigned bytes in {dimensions} "
                    f"dimensions starts with {_MAGIC[dimensions]:#010x}"
                )
            count = math.prod(shape)
            if count > _MOST_VALUES:
                raise UsageError(f"{path} states the shape {shape}; at most 2^31 values are allowed")
            values = file.read(count + 1)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise UsageError(f"{path} cannot be read as an IDX file: {error}") from error
    if len(values) != count:
        more = "more" if len(values) > count else len(values)
        raise UsageError(f"{path} states the shape {shape}, {count} bytes, but holds {more}")
    return np.frombuffer(values, np.uint8).reshape(shape)


def _find(root: Path) -> dict[str, Path]:
    """The files of images by the name of their split; a decompressed file is preferred to a compressed one."""
    files = sorted((path for path in root.iterdir() if path.is_file()), reverse=True)
    found = {match["split"]: path for path in files if (match := _IMAGES.fullmatch(path.name))}
    if not found:
        raise UsageError(f"{root} holds no IDX files of images (*-images-idx3-ubyte or *-images-idx3-ubyte.gz)")
    return found


def _choose(root: Path, found: dict[str, Path], name: str, field: str, endings: tuple[str, ...]) -> str:
    fitting = [split for split in sorted(found) if (split == name if name else split.endswith(endings))]
    if len(fitting) != 1:
        given = repr(name) if name else f"'' (a name that ends in {' or '.join(endings)})"
        raise UsageError(
            f"config.data.{field} is {given}, which matches {len(fitting)} splits in {root}; choose one of: "
            f"{', '.join(sorted(found))}"
        )
    return fitting[0]


def _read_split(name: str, path: Path, options: Any) -> dict[str, np.ndarray]:
    """'image' uint8 [N, size, size, 1] and 'label' int32 [N]."""
    stem = path.name.replace("-images", "-labels").replace("idx3", "idx1").removesuffix(".gz")
    labels_path = next((p for p in (path.with_name(stem), path.with_name(f"{stem}.gz")) if p.is_file()), None)
    if labels_path is None:
        raise UsageError(f"{path} has no labels beside it ({stem} or {stem}.gz)")
    images, labels = read_idx(path, 3), read_idx(labels_path, 1)
    if len(images) != len(labels) or not len(images):
        numbers = f"{len(images)} images and {labels_path.name} {len(labels)} labels"
        raise UsageError(f"{path} holds {numbers}; the numbers must be equal and positive")
    if name.startswith(_TRANSPOSED):
        images = images.swapaxes(1, 2)
    height, width = images.shape[1:]
    size = options.image_size or width
    check_size(str(path), width, height, size, options.resize)
    pixels = [to_pixels(Image.fromarray(np.ascontiguousarray(image)), size, 1, options.resize) for image in images]
    return {"image": np.stack(pixels), "label": labels.astype(np.int32)}
