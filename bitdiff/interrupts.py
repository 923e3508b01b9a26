"""Ctrl-C and SIGTERM as a wish to stop, which a loop looks at between two steps."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

_PATIENCE = 600.0  # seconds


class StopSignals:
    """While entered, the first SIGINT or SIGTERM is noted in `received`; a second one acts at once.

    Where the loop does not come to its end within ten minutes of the first (it may wait for a process or a file
    system that is gone), this process ends all the same, so that none hangs for ever.
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._before = {}
        self._deadline: threading.Timer | None = None

    def __enter__(self) -> "StopSignals":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._restore()
        if self._deadline:
            self._deadline.cancel()

    def _note(self, number: int, frame: FrameType | None) -> None:
        del frame
        self.received = signal.Signals(number)
        self._restore()
        self._deadline = threading.Timer(_PATIENCE, self._give_up)
        self._deadline.daemon = True
        self._deadline.start()

    def _give_up(self) -> None:
        print(f"error: still not at an end {_PATIENCE:.0f} s after {self.received.name}; ending now", file=sys.stderr)
        sys.stderr.flush()
        os._exit(128 + self.received)

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
