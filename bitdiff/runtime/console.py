"""What commands show while they run: progress bars and aligned tables."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tqdm import tqdm

_SILENT_SECONDS = 1.0  # anything faster gets no completion message


def progress_bar(description: str, unit: str, *, total: int, initial: int = 0, shown: bool = True) -> tqdm:
    """A bar with rate and remaining time: redrawn on a terminal, one line every 10 seconds in a file."""
    terminal = sys.stderr.isatty()
    return tqdm(
        disable=not shown,
        desc=description,
        unit=unit,
        total=total,
        initial=initial,
        dynamic_ncols=terminal,
        file=sys.stderr if terminal else _Lines(),
        mininterval=0.2 if terminal else 10.0,
    )


@contextmanager
def announced(text: str, *, shown: bool = True) -> Iterator[None]:
    """Prints what is about to run without output, and how long it took."""
    if shown:
        _print(f"{text} ...")
    started = time.monotonic()
    yield
    seconds = time.monotonic() - started
    if shown and seconds >= _SILENT_SECONDS:
        _print(f"{text} took {seconds:.1f} s")


def _print(text: str) -> None:
    with suppress(OSError):  # the terminal, or the program that reads the output, is gone
        print(text, file=sys.stderr, flush=True)


class _Lines:
    """A file for tqdm that writes every redraw on a line of its own."""

    def write(self, text: str) -> None:
        text = text.strip()
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def counted(count: int, noun: str) -> str:
    """A number with its noun, as in '1 model' and '2 models'."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def table(rows: list[tuple[str, str]]) -> str:
    """Two aligned columns of text."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
