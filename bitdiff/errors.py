"""The errors that a user may meet; commands print their message instead of a traceback."""

from collections.abc import Iterable


class UsageError(ValueError):
    """Bad input; the message says what is wrong, where, and what would be right."""


def choose(what: str, name: str, options: Iterable[str]) -> None:
    """Checks that `name` is one of `options`; raises UsageError that lists them otherwise."""
    options = list(options)
    if name not in options:
        raise UsageError(f"unknown {what} {name!r}; valid names are: {', '.join(options)}")


class SavingError(Exception):
    """A checkpoint could not be written; those before it are whole."""


class DivergedError(RuntimeError):
    """Training met a number that is not finite; the message names the step."""
