"""Many samples in a folder, in shards that are written as they are drawn, so that a stopped call can be resumed."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdiff.configuration.upgrades import upgraded
from bitdiff.data import Source
from bitdiff.inference.draws import Draw, draw_range
from bitdiff.inference.sample_files import write_npz, write_png
from bitdiff.inference.trained import Trained, with_texts
from bitdiff.runtime import files, processes
from bitdiff.runtime.errors import UsageError
from bitdiff.training import workdir


class Layout(NamedTuple):
    """How a folder holds samples.

    shard_size: samples in a file `00000.npz`; with PNG files, samples drawn between two checks of the folder.
    png: whether every image is a PNG file instead.
    """

    shard_size: int
    png: bool


def write_shards(
    run: Trained,
    request: Draw,
    labels: tuple[int, ...] | None,
    folder: Path,
    layout: Layout,
    examples: Source | None = None,
    record: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] | None = None,
) -> int:
    """Draws the samples whose shards are not in the folder yet; returns the number drawn by this process.

    Args:
      run: the model.
      request: which samples.
      labels: labels assigned to the samples in turn; by default all classes.
      folder: created if it does not exist; its `samples.json` describes the samples.
      layout: how the folder holds them.
      examples: examples that the samples are conditioned on, in turn; see `Task.condition`.
      record: the arrays to write in a shard, from the outputs; by default the samples and their texts.

    Raises:
      UsageError: the folder holds other samples, or PNG files were requested for a model that generates no images.
    """
    if layout.shard_size < 1:
        raise UsageError(f"--shard_size is {layout.shard_size}; it must be 1 or more")
    if layout.png and run.task.field != "image":
        raise UsageError(f"--format png is for images; this model generates {run.task.field!r}")
    if processes.is_main():
        _claim(folder, _description(run, request, labels, layout))
    processes.wait_for_all("the folder is claimed")
    drawn = 0
    index, count = processes.processes()
    for start in range(index * layout.shard_size, request.num_samples, count * layout.shard_size):
        end = min(start + layout.shard_size, request.num_samples)
        if _is_done(folder, layout, start, end):
            continue
        outputs = draw_range(run.task, run.params, request, start, end, labels=labels, examples=examples)
        if layout.png:
            write_png(folder, start, outputs["image"], run.config.data.vocab_size)
        else:
            arrays = with_texts(run, outputs) if record is None else record(outputs)
            write_npz(_shard(folder, layout, start), arrays)
        drawn += end - start
    processes.wait_for_all("all shards are written")
    return drawn


def count_samples(folder: Path, png: bool) -> int:
    """The number of samples in a folder."""
    if png:
        return len(list(folder.glob("*.png")))
    return sum(len(files.read_arrays(path, ["invalid"])["invalid"]) for path in folder.glob("*.npz"))


def _shard(folder: Path, layout: Layout, start: int) -> Path:
    return folder / f"{start // layout.shard_size:05d}.npz"


def _is_done(folder: Path, layout: Layout, start: int, end: int) -> bool:
    if layout.png:
        return all((folder / f"{i:06d}.png").exists() for i in range(start, end))
    try:
        # The last shard grows when more samples are requested later.
        return len(files.read_arrays(_shard(folder, layout, start), ["invalid"])["invalid"]) >= end - start
    except (UsageError, KeyError):
        return False  # missing or damaged, so it is drawn


def _description(run: Trained, request: Draw, labels: tuple[int, ...] | None, layout: Layout) -> dict[str, Any]:
    description = {
        "run": workdir.plain(run.config) | {"sample": None, "evaluate": None},
        "step": run.step,
        "weights": run.weights,
        "sampling": request.options._asdict(),
        "seed": request.seed,
        "labels": labels or list(range(run.config.data.num_classes)),  # assigned to the samples in turn
        "shard_size": layout.shard_size,
        "format": "png" if layout.png else "npz",
    }
    return json.loads(json.dumps(description))


def _claim(folder: Path, description: dict[str, Any]) -> None:
    """Creates the folder with a description of its samples, or checks that it holds these samples."""
    folder.mkdir(parents=True, exist_ok=True)
    record = folder / "samples.json"
    if record.exists():
        try:
            before = json.loads(record.read_text())
            before |= {"run": upgraded(before.get("run"))}
            changed = sorted(name for name in description if before.get(name) != description[name])
        except (ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"{record} is damaged ({error}); pass another --out, or delete the folder") from error
        if changed:
            raise UsageError(f"{folder} holds other samples (different: {', '.join(changed)}); pass another --out")
    elif any(folder.iterdir()):
        raise UsageError(f"{folder} holds other files; pass another --out")
    files.write_text(record, json.dumps(description, indent=2) + "\n")
