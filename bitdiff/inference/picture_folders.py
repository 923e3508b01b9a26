"""Folders of pictures as input: to describe, or to infer latents from."""

import re
from collections import Counter
from pathlib import Path

import numpy as np

from bitdiff.data.dataset import Arrays
from bitdiff.data.image_folder import ImageFolder, open_pictures
from bitdiff.figures import pages
from bitdiff.inference.draws import Draw, draw
from bitdiff.inference.sample_files import write_npz
from bitdiff.inference.trained import Trained, with_texts
from bitdiff.metrics import captions
from bitdiff.runtime import files, processes
from bitdiff.runtime.errors import UsageError

_SHEET = 24  # captioned pictures on the page


def open_folder(run: Trained, folder: Path) -> ImageFolder:
    """The pictures of a folder, at the size the model was trained on."""
    data = run.config.data
    resize = "bicubic" if data.resize == "none" else data.resize
    return open_pictures(folder, data.image_size, data.channels, resize)


def as_examples(run: Trained, folder: Path) -> Arrays:
    """The pictures of a folder as a model's examples: 'image' uint8 with values below its vocabulary size."""
    pictures = open_folder(run, folder)
    pixels = np.stack([pictures[i]["image"] for i in range(len(pictures))]) / 255.0 * (run.config.data.vocab_size - 1)
    return Arrays({"image": np.round(pixels).astype(np.uint8)})


def describe(run: Trained, request: Draw, folder: Path, count: int | None, out: Path) -> tuple[int, Path]:
    """Writes captions of the pictures in a folder to a .json or .npz file, and a page with some of them beside it.

    Args:
      run: a model that describes pictures.
      request: how to sample; its number of samples is replaced by `count`.
      folder: the pictures.
      count: number of pictures to describe; None for all.
      out: the file to write.

    Returns:
      (the number of captions, the path of the page).

    Raises:
      UsageError: no pictures, one that cannot be read, or fewer pictures than requested captions.
    """
    pictures = open_folder(run, folder)
    count = len(pictures) if count is None else count
    if count > len(pictures):
        raise UsageError(f"--num_samples is {count}, but {folder} holds {len(pictures)} images")
    if out.parent.resolve() == folder.resolve():
        raise UsageError(f"--out is {out}; it must be outside the folder of images, or its page would be described too")
    ids = _image_ids(pictures.files[:count], folder)
    processes.check_equal("the images", list(map(str, ids)))
    for i in range(count):  # reports a damaged picture before any is described
        pictures[i]
    outputs = draw(run.task, run.params, request._replace(num_samples=count), examples=pictures)
    page = out.with_suffix(".png")
    if processes.is_main():
        outputs = with_texts(run, outputs)
        texts = outputs["text"].tolist()
        if out.suffix == ".npz":
            write_npz(out, outputs)
        else:
            files.write_text(out, captions.results(ids, texts))
        shown = np.stack([pictures[i]["image"] for i in range(min(count, _SHEET))])
        page = pages.write_texts(out.with_suffix(".png"), texts[:_SHEET], shown)
    return count, page


def _image_ids(paths: list[Path], folder: Path) -> list[int | str]:
    """COCO's ids of pictures, from names like 000000391895.jpg and COCO_val2014_000000391895.jpg; else the names."""
    numbers = [re.fullmatch(r"(?:COCO_\w+_)?([0-9]+)", path.stem) for path in paths]
    ids = [int(number[1]) if number else path.stem for number, path in zip(numbers, paths, strict=True)]
    repeated = [name for name, times in Counter(ids).items() if times > 1]
    if repeated:
        raise UsageError(f"several images in {folder} have the same name or id, {repeated[:3]}; rename them")
    return ids
