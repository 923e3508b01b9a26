"""Images at their final size in memory-mapped arrays, written once by bitdiff.prepare from any other data set.

The folder holds `train.npy` and `test.npy` (uint8 [N, H, W, C]), labels in `train.label.npy` and `test.label.npy` if
there are any, and `about.json`, which describes the images and where they come from.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset, Source, fingerprint, label_frequencies
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.files import write_text
from bitdiff.runtime.locks import locked

_SPLITS = ("train", "test")
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError)  # exceptions raised by damaged files
_CHUNK = 512  # images between saves of the progress
_THREADS = min(16, os.cpu_count() or 1)  # decoding releases the GIL


def load(options: Any) -> Dataset:
    """Opens the folder `options.path`.

    Raises:
      UsageError: no such folder, an unfinished one, or arrays that do not match its description.
    """
    folder = Path(options.path).expanduser()
    if not options.path or not (folder / "about.json").is_file():
        started = " (bitdiff.prepare has not finished: run it again)" if (folder / "progress.json").exists() else ""
        raise UsageError(f"config.data.path: there are no prepared images in {str(options.path)!r}{started}")
    try:
        facts = json.loads((folder / "about.json").read_text())
        classes = tuple(facts["class_names"])
        train, test = (_open(folder, split, facts) for split in _SPLITS)
        if not len(train["image"]):
            raise ValueError("there are no training images")
        return Dataset(
            field="image",
            train=Arrays(train),
            test=Arrays(test),
            shape=tuple(facts["shape"]),
            vocab_size=facts["vocab_size"],
            num_classes=len(classes),
            class_names=classes,
            about=facts["about"],
            label_frequencies=label_frequencies(np.asarray(train["label"]), len(classes)) if classes else (),
        )
    except _DAMAGE as error:
        raise UsageError(f"the prepared images in {folder} are damaged: {error}") from error


def _arrays(split: str, facts: dict[str, Any]) -> dict[str, tuple[str, Any, tuple[int, ...]]]:
    """The arrays of a split by name: file name, type and shape."""
    count = facts["counts"][split]
    arrays: dict[str, tuple[str, Any, tuple[int, ...]]] = {
        "image": (f"{split}.npy", np.uint8, (count, *facts["shape"]))
    }
    return arrays | ({"label": (f"{split}.label.npy", np.int32, (count,))} if facts["class_names"] else {})


def _open(folder: Path, split: str, facts: dict[str, Any], mode: Literal["r", "r+"] = "r") -> dict[str, np.ndarray]:
    opened = {}
    for name, (file, dtype, shape) in _arrays(split, facts).items():
        if not shape[0]:  # an empty array cannot be memory-mapped
            opened[name] = np.zeros(shape, dtype)
            continue
        if mode != "r":
            _check_size(folder / file)  # NumPy would extend a truncated file with zeros
        opened[name] = np.load(folder / file, mmap_mode=mode, allow_pickle=False)
        if (opened[name].dtype, opened[name].shape) != (dtype, shape):
            found = f"{opened[name].dtype} {list(opened[name].shape)}"
            raise ValueError(f"`{name}` in {file} is {found}, not {np.dtype(dtype)} {list(shape)}")
    return opened


def _check_size(path: Path) -> None:
    array = np.load(path, mmap_mode="r", allow_pickle=False)  # raises if the file is shorter than its header says
    del array


def write(folder: Path, dataset: Dataset, advance: Callable[[int], object]) -> None:
    """Writes a data set of images into a folder; after any kind of interruption, a new call resumes where it stopped.

    Args:
      folder: created if missing.
      dataset: a data set of images.
      advance: called with the number of images just finished, or found finished by an earlier run.

    Raises:
      UsageError: the data are not images, an image cannot be read (all before it are kept), or the folder holds
        other data.
    """
    if dataset.field != "image":
        raise UsageError(f"only images can be prepared; the data are {dataset.about}")
    sources = {"train": dataset.train, "test": dataset.test}
    facts = {
        "about": dataset.about,
        "shape": list(dataset.shape),
        "vocab_size": dataset.vocab_size,
        "class_names": list(dataset.class_names),
        "counts": {split: len(source) for split, source in sources.items()},
    }
    facts["fingerprint"] = fingerprint(dataset.train)
    folder.mkdir(parents=True, exist_ok=True)
    with locked(folder, what="process"):
        done = _begin(folder, facts)
        for split, source in sources.items():
            advance(done[split])
            for start in range(done[split], len(source), _CHUNK):
                done[split] += _write_chunk(folder, split, source, start, facts)
                _save(folder / "progress.json", {"facts": facts, "done": done})
                advance(done[split] - start)
        _save(folder / "about.json", facts)
        (folder / "progress.json").unlink(missing_ok=True)


def _begin(folder: Path, facts: dict[str, Any]) -> dict[str, int]:
    """The number of images of each split already written; if there are none, creates the files at their full size."""
    done = dict.fromkeys(_SPLITS, 0)
    for name in ("about.json", "progress.json"):
        if not (folder / name).exists():
            continue
        try:
            state = json.loads((folder / name).read_text())
            before, done = (state, facts["counts"]) if name == "about.json" else (state["facts"], state["done"])
            if before == facts:
                if not all(0 <= done[split] <= facts["counts"][split] for split in _SPLITS):
                    raise ValueError(f"it records {done} finished images of {facts['counts']}")
                if any(done.values()):
                    for split in _SPLITS:
                        _open(folder, split, facts, mode="r+")
                    return dict(done)
                break
            differing = ", ".join(field for field in facts if before.get(field) != facts[field])
        except _DAMAGE as error:
            raise UsageError(
                f"the prepared images in {folder} are damaged ({error}); delete the folder to start from scratch"
            ) from error
        raise UsageError(f"{folder} holds other data (different: {differing}); choose another folder")
    else:
        if any(path.name != ".lock" for path in folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no prepared images; choose another folder")
    # The progress file is written first, so that the folder is recognized after an interruption at any later point.
    _save(folder / "progress.json", {"facts": facts, "done": done})
    for split in _SPLITS:
        for file, dtype, shape in _arrays(split, facts).values():
            if shape[0]:
                np.lib.format.open_memmap(folder / file, "w+", dtype, shape).flush()
                with (folder / file).open("r+b") as opened:  # fails now if the disk is full, not during writes
                    os.posix_fallocate(opened.fileno(), 0, os.fstat(opened.fileno()).st_size)
    return done


def _write_chunk(folder: Path, split: str, source: Source, start: int, facts: dict[str, Any]) -> int:
    indices = range(start, min(start + _CHUNK, len(source)))
    with ThreadPoolExecutor(_THREADS) as pool:
        examples = list(pool.map(source.__getitem__, indices))
    for name, array in _open(folder, split, facts, mode="r+").items():
        array[indices.start : indices.stop] = np.stack([example[name] for example in examples])
        if isinstance(array, np.memmap):  # an empty split is not mapped
            array.flush()
    return len(indices)


def _save(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
