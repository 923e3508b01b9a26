"""Imported first, so that Ctrl-C ends `python -m bitdiff.COMMAND` with one line even during its imports."""

import os
import signal
import sys


def is_command() -> bool:
    """Whether this process was started as `python -m bitdiff.COMMAND`."""
    before, _, after = " ".join(sys.orig_argv).partition(" -m bitdiff")
    return bool(before and after)


def _interrupted(number: int, frame: object) -> None:
    del frame
    os.write(2, b"interrupted\n")
    os._exit(128 + number)


if is_command():
    signal.signal(signal.SIGINT, _interrupted)
