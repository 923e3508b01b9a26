"""Files replaced as a whole: after a kill at any moment there is the old one or the new one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from bitdiff.errors import UsageError


def write(path: Path, write_to: Callable[[BinaryIO], None]) -> None:
    """Replaces `path` by what `write_to` writes into the open file that it is given."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        write_to(file)
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by a text."""
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
        raise UsageError(f"--out: {path} cannot be written ({error.strerror})") from error
