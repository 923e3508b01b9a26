"""Images at their final size in memory-mapped arrays, written once by bitdiff.prepare from any other data set.

A folder with `train.npy` and `test.npy` (uint8 [N, H, W, C]), labels in `train.label.npy` and `test.label.npy`
where there are any, and `about.json`: what the images are and where they come from.
"""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset, Source, label_shares
from bitdiff.errors import UsageError
from bitdiff.files import write_text

_SPLITS = ("train", "test")
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
        about = json.loads((folder / "about.json").read_text())
        shape, classes = tuple(about["shape"]), tuple(about["class_names"])
        splits = [_open(folder, split, (about["counts"][split], *shape), bool(classes)) for split in _SPLITS]
        shares = label_shares(np.asarray(splits[0]["label"]), len(classes)) if classes else ()
        return Dataset(
            field="image",
            train=Arrays(splits[0]),
            test=Arrays(splits[1]),
            shape=shape,
            vocab_size=about["vocab_size"],
            num_classes=len(classes),
            class_names=classes,
            about=about["about"],
            label_shares=shares,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"the prepared images in {folder} are damaged: {error}") from error


def _open(folder: Path, split: str, shape: tuple[int, ...], labelled: bool) -> dict[str, np.ndarray]:
    if not shape[0]:  # a file of nothing cannot be mapped
        return {"image": np.zeros(shape, np.uint8)} | ({"label": np.zeros(0, np.int32)} if labelled else {})
    arrays = {"image": np.load(folder / f"{split}.npy", mmap_mode="r", allow_pickle=False)}
    if labelled:
        arrays["label"] = np.load(folder / f"{split}.label.npy", allow_pickle=False)
    wanted = {"image": (np.uint8, shape), "label": (np.int32, shape[:1])}
    for name, array in arrays.items():
        if (array.dtype, array.shape) != wanted[name]:
            raise ValueError(f"{split}: `{name}` is {array.dtype} {list(array.shape)}, not {wanted[name]}")
    return arrays


def write(folder: Path, dataset: Dataset, advance: Callable[[int], None]) -> None:
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
    for name, key in (("about.json", None), ("progress.json", "facts")):
        if (folder / name).exists():
            try:
                state = json.loads((folder / name).read_text())
                before = state if key is None else state[key]
                done = facts["counts"] if key is None else state["done"]
            except (ValueError, KeyError, TypeError) as error:
                raise UsageError(f"{folder / name} is damaged ({error}); delete the folder to begin anew") from error
            if before != facts:
                differing = ", ".join(field for field in facts if before.get(field) != facts[field])
                raise UsageError(f"{folder} holds other data (it differs in: {differing}); give another folder")
            return dict(done)
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty and holds no prepared images; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    # The progress file comes first: whatever happens from here on, the folder is known for what it is.
    done = dict.fromkeys(_SPLITS, 0)
    _save(folder / "progress.json", {"facts": facts, "done": done})
    return done


def _write_chunk(folder: Path, split: str, source: Source, start: int, facts: dict[str, Any]) -> int:
    indices = range(start, min(start + _CHUNK, len(source)))
    with ThreadPoolExecutor(_THREADS) as pool:
        examples = list(pool.map(source.__getitem__, indices))
    arrays = {"": ("image", np.uint8, facts["shape"])}
    if facts["class_names"]:
        arrays[".label"] = ("label", np.int32, [])
    for suffix, (name, dtype, shape) in arrays.items():
        path = folder / f"{split}{suffix}.npy"
        mode = "r+" if start else "w+"
        file = np.lib.format.open_memmap(path, mode, dtype, (len(source), *shape))
        file[indices.start : indices.stop] = np.stack([example[name] for example in examples])
        file.flush()
        del file
    return len(indices)


def _save(path: Path, content: Any) -> None:
    write_text(path, json.dumps(content, indent=2) + "\n")
