"""The processes of a run: which one this is, waiting for one another, agreeing, and gathering arrays."""

import json
import uuid
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from bitdiff.runtime.errors import UsageError


def is_joined() -> bool:
    """Whether this is one of several processes; does not initialize jax's backends."""
    return jax.distributed.is_initialized()


def is_main() -> bool:
    """Whether this is the process that prints and writes logs and pictures."""
    return jax.process_index() == 0


def processes() -> tuple[int, int]:
    """The index of this process and the number of processes."""
    return jax.process_index(), jax.process_count()


def wait_for_all(what: str) -> None:
    """Returns once every process has called it with the same `what`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def check_equal(what: str, value: Any) -> None:
    """Checks that a value that can be written as JSON is the same in all processes.

    Raises:
      UsageError: it differs; raised in every process.
    """
    if jax.process_count() > 1:
        digest = np.uint32(zlib.crc32(json.dumps(value, sort_keys=True).encode()))
        gathered = np.asarray(multihost_utils.process_allgather(digest))
        others = np.flatnonzero(gathered != gathered[0]).tolist()
        if others:
            raise UsageError(f"the processes disagree about {what}: process 0 differs from {others}")


def check_shared(folder: Path) -> None:
    """Checks that all processes see the folder of process 0.

    Raises:
      UsageError: a process does not see it; raised in every process.
    """
    if jax.process_count() == 1:
        return
    token = folder / ".shared"
    written = uuid.uuid4().hex
    if is_main():
        token.write_text(written)
    wait_for_all("the folder is marked")
    seen = token.read_text() if token.exists() else "nothing"
    wait_for_all("the mark is read")
    if is_main():
        token.unlink()
    try:
        check_equal("the folder", seen)
    except UsageError as error:
        raise UsageError(
            f"not all processes see the same folder {folder}; it must be on a shared file system"
        ) from error


def any_process(value: bool) -> bool:
    """Whether a condition holds in at least one process."""
    return bool(np.any(multihost_utils.process_allgather(np.bool_(value)))) if jax.process_count() > 1 else value


def own_range(count: int) -> range:
    """This process's contiguous block of the indices 0 to count - 1."""
    index, total = processes()
    return range(count * index // total, count * (index + 1) // total)


def gather(tree: Any) -> Any:
    """Concatenates the rows of all processes in order: arrays [own rows, ...] -> NumPy arrays [all rows, ...].

    Arrays may have any dtype and a different number of rows in each process; every bit is preserved.
    """
    if jax.process_count() == 1:
        return tree

    def gather_array(rows):
        rows = np.ascontiguousarray(rows)
        width = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
        counts = multihost_utils.process_allgather(np.int32(len(rows)))
        padded = np.zeros((max(counts), width), np.uint8)  # bytes: jax would turn float64 into float32
        padded[: len(rows)] = rows.view(np.uint8).reshape(len(rows), width)
        gathered = np.asarray(multihost_utils.process_allgather(padded))
        joined = np.concatenate([part[:count] for part, count in zip(gathered, counts, strict=True)])
        return joined.reshape(-1).view(rows.dtype).reshape(sum(counts), *rows.shape[1:])

    return jax.tree.map(gather_array, tree)
