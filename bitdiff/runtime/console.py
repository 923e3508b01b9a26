"""What commands show while they run: progress bars and aligned tables."""

import sys

from tqdm import tqdm


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


class _Lines:
    """A file for tqdm that writes every redraw on a line of its own."""

    def write(self, text: str) -> None:
        text = text.strip()
        if text:
            sys.stderr.write(text + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def table(rows: list[tuple[str, str]]) -> str:
    """Two aligned columns of text."""
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"  {name:<{width}}  {value}" for name, value in rows)
