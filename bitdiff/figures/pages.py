"""Preview pages: grids of images, pictures with captions, or lines of text."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bitdiff.figures.pose_pictures import write_poses
from bitdiff.runtime import files

_MAX_COLUMNS = 24  # for grids whose columns have a meaning
_MAX_CAPTIONED, _CAPTIONED_SIDE = 24, 192  # pictures on a page with captions, and their minimum width
_MIN_SIDE = 48  # smaller images are enlarged by an integer factor


def to_8_bits(images: np.ndarray, vocab_size: int) -> np.ndarray:
    """Scales values in [0, vocab_size) to 0 to 255: int [...] -> uint8 [...]."""
    return np.round(images.astype(np.float64) * (255.0 / (vocab_size - 1))).astype(np.uint8)


def image_grid(images: np.ndarray, vocab_size: int, columns: int | None = None) -> Image.Image:
    """Arranges images int [N, H, W, C] with values below vocab_size in rows; C is 1 or 3.

    With `columns` from 2 to 24, for example one per class, the grid has that many; otherwise it is square.
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


def caption_sheet(images: np.ndarray, texts: Sequence[str]) -> Image.Image:
    """Arranges pictures uint8 [N, S, S, C] in rows, each with its text below it; at most 24 of them."""
    images, texts = images[:_MAX_CAPTIONED], texts[:_MAX_CAPTIONED]
    side = max(_CAPTIONED_SIDE // images.shape[1], 1) * images.shape[1]
    cell = max(side, _CAPTIONED_SIDE)
    columns = min(4, len(images))
    font = ImageFont.load_default(11)
    wrapped = [textwrap.fill(text or "(nothing)", cell // 6) for text in texts]
    height = side + 16 + 14 * max(text.count("\n") + 1 for text in wrapped)
    sheet = Image.new("RGB", (columns * (cell + 8) + 8, -(-len(images) // columns) * height + 8), "white")
    pen = ImageDraw.Draw(sheet)
    for i, (pixels, text) in enumerate(zip(images, wrapped, strict=True)):
        left, top = 8 + i % columns * (cell + 8), 8 + i // columns * height
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        sheet.paste(picture.resize((side, side), Image.Resampling.NEAREST), (left, top))
        pen.text((left, top + side + 3), text, fill="black", font=font)
    return sheet


def write_texts(path: Path, texts: Sequence[str], images: np.ndarray | None = None) -> Path:
    """Writes texts beside `path`, below their pictures as `.png` or as lines of `.txt`; returns the file's path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if images is not None:
        path = path.with_suffix(".png")
        _save(path, caption_sheet(images, texts))
    else:
        path = path.with_suffix(".txt")
        files.write_text(path, "".join(f"{text}\n" for text in texts))
    return path


def write_samples(path: Path, outputs: dict[str, np.ndarray], vocab_size: int, columns: int | None = None) -> Path:
    """Writes samples beside `path`: images and poses as a `.png`, tokens and points as lines of `.txt`.

    Returns:
      The path of the file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if "image" in outputs:
        path = path.with_suffix(".png")
        _save(path, image_grid(outputs["image"], vocab_size, columns))
    elif "pose" in outputs:
        path = path.with_suffix(".png")
        write_poses(path, outputs, columns)
    else:
        path = path.with_suffix(".txt")
        rows = outputs["tokens" if "tokens" in outputs else "point"].tolist()
        files.write_text(path, "".join(" ".join(f"{value:g}" for value in row) + "\n" for row in rows))
    return path


def _save(path: Path, picture: Image.Image) -> None:
    files.write(path, lambda file: picture.save(file, format="png"))
