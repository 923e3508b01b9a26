"""Writing samples: arrays as .npz, images as PNG files, and a preview page beside them."""

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bitdiff.figures import pages
from bitdiff.inference.trained import Trained
from bitdiff.runtime import files

_NOT_WRITTEN = ("histogram", "trajectory", "path", "beams", "beam_scores")


def write_npz(path: Path, outputs: dict[str, np.ndarray]) -> None:
    """Writes samples atomically: 'image', 'tokens' or 'point', 'invalid', and 'text', 'label' or 'latents' if any."""
    arrays: dict[str, Any] = {name: outputs[name] for name in outputs if name not in _NOT_WRITTEN}
    files.write(path, lambda file: np.savez_compressed(file, **arrays))


def write_png(folder: Path, first: int, images: np.ndarray, vocab_size: int) -> None:
    """Writes images as folder/000000.png and so on, counting from `first`; each file atomically."""
    for i, pixels in enumerate(pages.to_8_bits(images, vocab_size), start=first):
        picture = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
        files.write(folder / f"{i:06d}.png", lambda file, picture=picture: picture.save(file, format="png"))


def write_page(path: Path, run: Trained, outputs: dict[str, np.ndarray], columns: int | None = None) -> Path:
    """Writes a preview of samples beside `path`: a grid of images or lines of text; returns the file's path."""
    if "text" in outputs:
        return pages.write_texts(path, outputs["text"].tolist())
    return pages.write_samples(path, outputs, run.config.data.vocab_size, columns)
