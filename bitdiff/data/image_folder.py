"""A folder of images, with an optional sub-folder per class."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bitdiff.data.dataset import Dataset, label_frequencies, split
from bitdiff.data.resizing import check_method, check_size, to_pixels
from bitdiff.runtime.errors import UsageError

_log = logging.getLogger(__name__)
_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
_GREY_MODES = ("1", "L", "LA")
_COLOUR_MODES = ("RGB", "RGBA", "P", "CMYK", "YCbCr")
_MAX_PIXELS = 2**26  # a larger picture is a mistake or an attack
_CHECKED_AHEAD = 20_000  # headers checked before training starts; the rest are checked when read
_SEARCHED_FOR_COLOR = 500
_COLORLESS = 8  # largest difference between the channels of a gray picture stored in color, as JPEG leaves it
_DECODED_AHEAD = 2_000  # up to this many images, all are decoded before training as a check


class ImageFolder:
    """Images decoded on access: 'image' uint8 [size, size, channels], and 'label' if labeled."""

    def __init__(self, files: list[Path], labels: np.ndarray | None, size: int, channels: int, resize: str):
        self.files, self._labels = files, labels
        self._size, self._channels, self._resize = size, channels, resize

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pixels = read_image(self.files[index], self._size, self._channels, self._resize)
        return {"image": pixels} | ({} if self._labels is None else {"label": self._labels[index]})


def load(options: Any) -> Dataset:
    """Reads the layout of the folder `options.path` and the headers of its images.

    Images lie in the folder itself, or in one sub-folder per class (sorted by name). A size of 0 means that of the
    first image; channels of 0 means 1 if all images are gray, even if they are stored in color, and 3 otherwise.

    Raises:
      UsageError: no such folder, no images in it, images beside class folders, unreadable images, or
        images of several sizes without a resize method.
    """
    root = Path(options.path).expanduser()
    if not options.path or not root.is_dir():
        raise UsageError(f"config.data.path: there is no folder {str(options.path)!r}")
    check_method(options.resize)
    if options.channels not in (0, 1, 3):
        raise UsageError(
            f"config.data.channels is {options.channels}; it must be 1 (gray), 3 (RGB) or 0 (as in the images)"
        )
    files, labels, class_names = find_images(root)
    with open_image(files[0]) as first:
        size = options.image_size or first.width
    for path in _spread(files, _CHECKED_AHEAD):
        with open_image(path) as image:
            check_size(str(path), *image.size, size, options.resize)
    channels = options.channels or _channels(root, files)
    images = ImageFolder(files, labels, size, channels, options.resize)
    if len(images) <= _DECODED_AHEAD:
        for i in range(len(images)):
            images[i]
    train, test = split(images, options.test_fraction)
    return Dataset(
        field="image",
        train=train,
        test=test,
        shape=(size, size, channels),
        vocab_size=256,
        num_classes=len(class_names),
        class_names=class_names,
        about=f"folder {root.resolve()}, {len(files)} images, resize {options.resize}",
        label_frequencies=() if labels is None else label_frequencies(labels[train.indices], len(class_names)),
    )


def _channels(root: Path, files: list[Path]) -> int:
    """1 if none of the examined images shows a color, and otherwise 3, with a warning if some are gray."""
    examined = _spread(files, _SEARCHED_FOR_COLOR)
    gray = sum(map(_is_gray, examined))
    if 0 < gray < len(examined):
        _log.warning(
            "%s: %d of %d examined images are gray, and the others show colors; all are read in color (pass "
            "--config.data.channels=1 to load them as grayscale, with a third of the bits)",
            root,
            gray,
            len(examined),
        )
    return 1 if gray == len(examined) else 3


def _is_gray(path: Path) -> bool:
    with open_image(path) as image:
        if image.mode in _GREY_MODES:
            return True
        try:
            return int(np.ptp(np.asarray(image.convert("RGB")).astype(int), axis=-1).max()) <= _COLORLESS
        except (OSError, SyntaxError, ValueError) as error:
            raise UsageError(f"the image {path} is damaged: {error}") from error


def _spread(files: list[Path], most: int) -> list[Path]:
    """At most that many files, evenly spread over all."""
    return [files[i] for i in np.linspace(0, len(files), min(len(files), most), endpoint=False).astype(int)]


def open_pictures(root: Path, size: int, channels: int, resize: str) -> ImageFolder:
    """The pictures of a folder, resized to one size and without labels; their headers are read immediately.

    Raises:
      UsageError: no such folder, no pictures in it, or one that cannot be read.
    """
    if not root.is_dir():
        raise UsageError(f"there is no image folder {root}")
    files, _, _ = find_images(root)
    for path in files:
        open_image(path).close()
    return ImageFolder(files, None, size, channels, resize)


def open_image(path: Path) -> Image.Image:
    """Opens an image and reads its header.

    Raises:
      UsageError: it is not a readable 8-bit image, or has more than 2^26 pixels.
    """
    try:
        image = Image.open(path)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise UsageError(f"{path} is not a readable image: {error}") from error
    if image.width * image.height > _MAX_PIXELS:
        raise UsageError(f"{path} has {image.width} x {image.height} pixels; at most 2^26 are allowed")
    if image.mode not in _GREY_MODES + _COLOUR_MODES:
        raise UsageError(f"{path} has mode {image.mode}; only images with 8 bits per channel are accepted")
    return image


def read_image(path: Path, size: int, channels: int, resize: str) -> np.ndarray:
    """Decodes and resizes an image: uint8 [size, size, channels].

    Raises:
      UsageError: it cannot be read, is damaged, or has a different size and there is no resize method.
    """
    with open_image(path) as image:
        check_size(str(path), *image.size, size, resize)
        try:
            return to_pixels(ImageOps.exif_transpose(image), size, channels, resize)
        except (OSError, SyntaxError, ValueError) as error:
            raise UsageError(
                f"the image {path} is damaged: {error}; replace it with another image (a resumed run requires the same "
                "number of images)"
            ) from error


def find_images(root: Path) -> tuple[list[Path], np.ndarray | None, tuple[str, ...]]:
    """The image files of a folder in order, their labels, and the class names.

    Raises:
      UsageError: no images, or images beside folders of images.
    """
    loose = _images(root)
    folders = sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    classes = {folder.name: _images(folder) for folder in folders}
    classes = {name: files for name, files in classes.items() if files}
    if loose and classes:
        raise UsageError(
            f"{root} holds images ({loose[0].name}, ...) beside folders of images ({next(iter(classes))}, ...); "
            "put all images into one folder, or each into the folder of its class"
        )
    if not loose and not classes:
        raise UsageError(f"{root} holds no images or folders of images ({' '.join(_SUFFIXES)})")
    if loose:
        return loose, None, ()
    files = [file for members in classes.values() for file in members]
    labels = np.repeat(np.arange(len(classes), dtype=np.int32), [len(members) for members in classes.values()])
    return files, labels, tuple(classes)


def _images(folder: Path) -> list[Path]:
    files = (p for p in folder.iterdir() if p.suffix.lower() in _SUFFIXES and not p.name.startswith("."))
    return sorted(p for p in files if p.is_file())  # reading a pipe or a device might wait forever
