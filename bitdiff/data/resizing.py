"""Resizing of pictures to one square size; the config names the method, and every result records it."""

import numpy as np
from PIL import Image

from bitdiff.runtime.errors import UsageError, choose

_FILTERS = {
    "box": Image.Resampling.BOX,  # the mean over an area; exact if the sizes divide evenly
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
METHODS = ("none", *_FILTERS, "pad")


def check_method(resize: str) -> None:
    """Raises UsageError for an unknown method."""
    choose("resize method (config.data.resize)", resize, METHODS)


def check_size(what: str, width: int, height: int, size: int, resize: str) -> None:
    """Raises UsageError if a picture is not size x size and the resize method does not make it so."""
    if resize == "pad" and max(width, height) > size:
        raise UsageError(f"{what} is {width} x {height} pixels, which cannot be padded to {size} x {size}")
    if resize == "none" and (width, height) != (size, size):
        raise UsageError(
            f"{what} is {width} x {height} pixels, not {size} x {size}; "
            "set config.data.resize (and config.data.image_size) to resize all images to one size"
        )


def to_pixels(image: Image.Image, size: int, channels: int, resize: str) -> np.ndarray:
    """Converts to gray (1 channel) or RGB (3), crops the center square, and resizes: uint8 [size, size, channels].

    The filters are Pillow's, which antialias: they widen when shrinking a picture. With 'pad', the picture is neither
    cropped nor resized, but surrounded with black.
    """
    image = image.convert("L" if channels == 1 else "RGB")
    if resize == "pad":
        padded = Image.new(image.mode, (size, size))
        padded.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
        image = padded
    elif resize != "none":
        short = min(image.size)
        left, top = (image.width - short) // 2, (image.height - short) // 2
        image = image.crop((left, top, left + short, top + short)).resize((size, size), _FILTERS[resize])
    return np.asarray(image, np.uint8).reshape(size, size, channels)
