"""Atomic writes, and reading archives of plain arrays."""

import os
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np

from bitdiff.runtime.errors import UsageError

# What NumPy and zipfile raise for damaged archives, archives of another kind, and archives with pickled objects.
ARRAY_ERRORS = (
    OSError,
    EOFError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


def write(path: Path, write_to: Callable[[BinaryIO], object]) -> None:
    """Replaces `path` with what `write_to` writes to the file it is passed; a kill leaves the old or the new file.

    Raises:
      OSError: it cannot be written, e.g. because the disk is full; the error names the path, and the old file is kept.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            write_to(file)
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def write_text(path: Path, text: str) -> None:
    """Replaces `path` with a text."""
    write(path, lambda file: file.write(text.encode()))


def check_writable(path: Path) -> None:
    """Raises UsageError if a file of that name cannot be written, before hours are spent on its content."""
    partial = path.with_name(path.name + ".partial")
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        partial.open("wb").close()
        partial.unlink()
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror})") from error


def read_arrays(path: Path, names: Iterable[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file, without pickled objects.

    Args:
      path: the file.
      names: the arrays to read, if the file holds them; by default all.

    Raises:
      UsageError: there is no such file, it cannot be read, or it needs more memory than the machine has.
    """
    if not path.is_file():
        raise UsageError(f"there is no file {path}")
    try:
        if not zipfile.is_zipfile(path):
            raise UsageError(f"{path} is not an .npz file, or was cut short")
        file = np.load(path, allow_pickle=False)
        with file:
            if file.zip is not None:
                _check_unpacked(path, file.zip)
            return {name: file[name] for name in file.files if names is None or name in set(names)}
    except UsageError:
        raise
    except ARRAY_ERRORS as error:
        reason = "it holds Python objects" if "allow_pickle" in str(error) else str(error)
        raise UsageError(f"{path} cannot be read as an .npz file of plain arrays: {reason}") from error


def _check_unpacked(path: Path, archive: zipfile.ZipFile) -> None:
    """Refuses a file that would unpack to more than the machine's memory, before it is read."""
    unpacked = sum(member.file_size for member in archive.infolist())
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if unpacked > memory:
        raise UsageError(
            f"{path} unpacks to {unpacked / 2**30:.1f} GiB, but this machine has {memory / 2**30:.1f} GiB of memory; "
            "save large arrays as plain .npy files, which are memory-mapped instead of read"
        )
