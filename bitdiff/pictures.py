"""Samples as something to look at: a grid of images, or lines of tokens."""

import math
from pathlib import Path

import numpy as np
from PIL import Image

_MAX_COLUMNS = 24  # of a grid with a meaning to its columns
_MIN_SIDE = 48  # tiny images are enlarged by a whole factor


def to_8_bits(images: np.ndarray, vocab_size: int) -> np.ndarray:
    """Spreads values from 0 to vocab_size - 1 over 0 to 255: int [...] -> uint8 [...]."""
    return np.round(images.astype(np.float64) * (255.0 / (vocab_size - 1))).astype(np.uint8)


def image_grid(images: np.ndarray, vocab_size: int, columns: int | None = None) -> Image.Image:
    """Lays images int [N, H, W, C], values below vocab_size, out in rows; C is 1 or 3.

    `columns` puts, say, one class in each column; outside 2 to 24 the grid is made square instead.
    """
    count, height, width, channels = images.shape
    if columns is None or not 2 <= columns <= _MAX_COLUMNS:
        columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    zoom = max(1, -(-_MIN_SIDE // height))
    pixels = to_8_bits(images, vocab_size)
    pixels = pixels.repeat(zoom, axis=1).repeat(zoom, axis=2)
    gap = 2
    height, width = height * zoom + gap, width * zoom + gap
    sheet = np.full((rows * height + gap, columns * width + gap, channels), 64, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = i // columns * height + gap, i % columns * width + gap
        sheet[top : top + height - gap, left : left + width - gap] = picture
    return Image.fromarray(sheet[..., 0] if channels == 1 else sheet)


def write_preview(path: Path, outputs: dict[str, np.ndarray], vocab_size: int, columns: int | None = None) -> Path:
    """Writes samples beside `path`: images as a grid `.png`, tokens as lines of `.txt`; returns the file's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if "image" in outputs:
        path = path.with_suffix(".png")
        image_grid(outputs["image"], vocab_size, columns).save(path)
    else:
        path = path.with_suffix(".txt")
        path.write_text("".join(" ".join(map(str, row)) + "\n" for row in outputs["tokens"].tolist()))
    return path
