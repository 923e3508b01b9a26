"""Files replaced as a whole: after a kill at any moment there is the old one or the new one."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write(path: Path, write_to: Callable[[BinaryIO], None]) -> None:
    """Replaces `path` by what `write_to` writes into the open file that it is given."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        write_to(file)
    os.replace(partial, path)


def write_text(path: Path, text: str) -> None:
    """Replaces `path` by a text."""
    write(path, lambda file: file.write(text.encode()))
