"""SIGINT and SIGTERM as a request to stop, which a loop checks between two steps."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

_GRACE_SECONDS = 600.0


class StopSignals:
    """In a `with` block, records the first SIGINT or SIGTERM in `received`; a second signal acts immediately.

    If the loop has not finished ten minutes after the first signal (it may be waiting for a process or a file system
    that is gone), the process exits anyway, so that it never hangs.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._previous = {}
        self._deadline: threading.Timer | None = None

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread can handle signals
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._record)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()
        if self._deadline:
            self._deadline.cancel()

    def _record(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number)
        self._restore()
        self._deadline = threading.Timer(_GRACE_SECONDS, self._give_up)
        self._deadline.daemon = True
        self._deadline.start()

    def _give_up(self) -> None:
        assert self.received is not None
        print(f"error: still running {_GRACE_SECONDS:.0f} s after {self.received.name}; exiting now", file=sys.stderr)
        sys.stderr.flush()
        os._exit(128 + self.received)

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
