"""Images at their final size in memory-mapped arrays, written once by bitdiff.prepare from any other data set.

A folder with `train.npy` and `test.npy` (uint8 [N, H, W, C]), labels in `train.label.npy` and `test.label.npy`
where there are any, and `about.json`: what the images are and where they come from.
"""

import fcntl
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

_SPLITS = ("train", "test")
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError)  # what damaged files raise
_CHUNK = 512  # images after which progress is kept
_THREADS = min(16, os.cpu_count() or 1)  # decoding releases the interpreter


def load(options: Any) -> Dataset:
    """Opens the folder `options.path`.

    Raises:
      UsageError: no such folder, an unfinished one, or arrays that do not fit its description.
    """
    folder = Path(options.path).expanduser()
    if not options.path or not (folder / "about.json").is_file():
        started = " (bitdiff.prepare has not finished it: run it again)" if (folder / "progress.json").exists() else ""
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
        if not shape[0]:  # a file of nothing cannot be mapped
            opened[name] = np.zeros(shape, dtype)
            continue
        if mode != "r":
            _check_size(folder / file)  # where it is short, NumPy would lengthen it with zeros
        opened[name] = np.load(folder / file, mmap_mode=mode, allow_pickle=False)
        if (opened[name].dtype, opened[name].shape) != (dtype, shape):
            found = f"{opened[name].dtype} {list(opened[name].shape)}"
            raise ValueError(f"`{name}` in {file} is {found}, not {np.dtype(dtype)} {list(shape)}")
    return opened


def _check_size(path: Path) -> None:
    array = np.load(path, mmap_mode="r", allow_pickle=False)  # raises where the file is shorter than its header says
    del array


def write(folder: Path, dataset: Dataset, advance: Callable[[int], object]) -> None:
    """Writes a data set of images into a folder; started again after any kind of end, it goes on where it was.

    Args:
      folder: made if need be.
      dataset: images.
      advance: called with the number of images that are done, those of an earlier start included.

    Raises:
      UsageError: the data are no images, an image cannot be read (all before it are kept), or the folder holds
        other data.
    """
    if dataset.field != "image":
        raise UsageError(f"only images are prepared; the data are {dataset.about}")
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
    with (folder / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise UsageError(f"another preparation is writing to {folder}") from error
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
    """How many images of each split are there already; where none, makes the files at their full size."""
    done = dict.fromkeys(_SPLITS, 0)
    for name in ("about.json", "progress.json"):
        if not (folder / name).exists():
            continue
        try:
            state = json.loads((folder / name).read_text())
            before, done = (state, facts["counts"]) if name == "about.json" else (state["facts"], state["done"])
            if before == facts:
                if not all(0 <= done[split] <= facts["counts"][split] for split in _SPLITS):
                    raise ValueError(f"{done} images are done, of {facts['counts']}")
                if any(done.values()):
                    for split in _SPLITS:
                        _open(folder, split, facts, mode="r+")
                    return dict(done)
                break
            differing = ", ".join(field for field in facts if before.get(field) != facts[field])
        except _DAMAGE as error:
            raise UsageError(f"the preparation in {folder} is damaged ({error}); delete it to begin anew") from error
        raise UsageError(f"{folder} holds other data (it differs in: {differing}); give another folder")
    else:
        if any(path.name != ".lock" for path in folder.iterdir()):
            raise UsageError(f"{folder} is not empty and holds no prepared images; give another folder")
    # The progress file comes first: whatever happens from here on, the folder is known for what it is.
    _save(folder / "progress.json", {"facts": facts, "done": done})
    for split in _SPLITS:
        for file, dtype, shape in _arrays(split, facts).values():
            if shape[0]:
                np.lib.format.open_memmap(folder / file, "w+", dtype, shape).flush()
                with (folder / file).open("r+b") as opened:  # a full disk is met now, not while writing to the map
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
