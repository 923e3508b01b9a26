"""The errors a user may encounter; commands print their message instead of a traceback."""

from collections.abc import Iterable


class UsageError(ValueError):
    """Bad input; the message states what was given, where, and what is valid."""


def choose(what: str, name: str, options: Iterable[str]) -> None:
    """Checks that `name` is one of `options`; raises UsageError with the valid names otherwise."""
    options = list(options)
    if name not in options:
        raise UsageError(f"unknown {what} {name!r}; valid names are: {', '.join(options)}")


class SavingError(Exception):
    """A file, such as a checkpoint, could not be read or written during training; earlier checkpoints are intact."""


class DivergedError(RuntimeError):
    """Training produced a number that is not finite; the message names the step."""
