"""A lock on a folder that lasts as long as the process that holds it."""

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

from bitdiff.runtime import processes
from bitdiff.runtime.errors import UsageError

_log = logging.getLogger(__name__)


@contextmanager
def locked(folder: Path, *, what: str = "training run") -> Iterator[None]:
    """Holds a lock on a folder, in its file `.lock`; the system releases it when the process ends, however it ends.

    The lock is flock(2), which Linux also provides on NFS. With several processes, the first holds it for all of them.

    Args:
      folder: an existing folder.
      what: what writes to the folder, for messages.

    Raises:
      UsageError: another process holds the lock. Raised in every process; in the first, it names the holder.
    """
    file, holder = _acquire(folder, what) if processes.is_main() else (None, "")
    try:
        if processes.any_process(bool(holder)):
            raise UsageError(
                f"another {what} is writing to {folder}{': ' if holder else ''}{holder}; wait until it ends, stop it, "
                "or pass another folder"
            )
        yield
    finally:
        if file is not None:
            file.close()  # releases the lock


def _acquire(folder: Path, what: str) -> tuple[TextIO | None, str]:
    """The locked file, and '' or a description of the process that holds the lock."""
    file = (folder / ".lock").open("a+")
    try:
        if fcntl is None:
            raise OSError("this system has no flock")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(200).strip() or "an unknown process"
        file.close()
        return None, holder
    except OSError as error:
        _log.warning("%s cannot be locked (%s): make sure that no other %s writes to it", folder, error, what)
        return file, ""
    file.truncate(0)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    file.write(f"process {os.getpid()} on {socket.gethostname()}, since {now}\n")
    file.flush()
    return file, ""
