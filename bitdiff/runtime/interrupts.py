"""SIGINT, SIGTERM and SIGHUP, handled immediately even while the main thread is inside XLA's compiler.

Python runs a signal's handler in the main thread, and only between two of its instructions, one of which can take
minutes. A thread that reads from `signal.set_wakeup_fd` learns of the signal immediately.
"""

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from bitdiff.runtime.early import is_command

_GRACE_SECONDS = 600.0
_INTERRUPT_SECONDS = 1.0  # how long a command may take to handle KeyboardInterrupt before it is ended anyway
SAME_SECONDS = 0.3  # signals closer than this are one request
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Watcher:
    """A thread that calls `received` for every signal that has a Python handler, and `late` if its deadline passes.

    received: called with the signal's number; returns the seconds after which `late` is called, or None.
    late: called with the number of the last signal.
    """

    def __init__(self, received: Callable[[int], float | None], late: Callable[[int], None]):
        self._received, self._late = received, late
        self._ours, self._signals = socket.socketpair()
        self._signals.setblocking(False)
        self._previous = signal.set_wakeup_fd(self._signals.fileno(), warn_on_full_buffer=False)
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops the thread, and restores the previous wakeup file descriptor."""
        signal.set_wakeup_fd(self._previous)
        self._signals.close()  # wakes the thread
        if threading.current_thread() is not self._thread:
            self._thread.join()
        self._ours.close()

    def _watch(self) -> None:
        seconds: float | None = None
        last = 0
        while True:
            ready, _, _ = select.select([self._ours], [], [], seconds)
            if not ready:
                self._late(last)
                return
            numbers = self._ours.recv(16)
            if not numbers:
                return
            for number in numbers:
                if number in _SIGNALS:
                    last = number
                    seconds = self._received(number)


class StopSignals:
    """In a `with` block, records the first signal in `received` and reports it; a second ends the process.

    The signals are SIGINT, SIGTERM and SIGHUP. SIGHUP, sent when the terminal closes, has no effect under nohup.
    If the loop has not finished ten minutes after the first signal (it may be waiting for a process or a file system
    that is gone), the process exits anyway, so that it never hangs.
    """

    def __init__(self, *, quiet: bool = False):
        """With `quiet`, prints nothing; for all processes but the first."""
        self.received: signal.Signals | None = None
        self._quiet = quiet
        self._count = 0
        self._first = 0.0
        self._stops_now = False
        self._handlers = {}
        self._watcher: Watcher | None = None

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is not threading.main_thread():
            return self  # only the main thread can handle signals
        for number in _SIGNALS:
            if number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN:
                continue
            self._handlers[number] = signal.signal(number, self._note)
        self._watcher = Watcher(self._record, self._give_up)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._watcher:
            self._watcher.close()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: object) -> None:
        """The handler in the main thread, once that runs Python code again."""
        del frame
        if self.received is not None and not is_command():
            time.sleep(0.05)  # for the watcher, which alone counts the signals
            if self._stops_now:
                raise KeyboardInterrupt  # a notebook's process continues
        self.received = self.received or signal.Signals(number)

    def _record(self, number: int) -> float:
        self._count += 1
        now = time.monotonic()
        if self._count > 1 and now - self._first < SAME_SECONDS:
            return _GRACE_SECONDS  # a launcher forwards what the terminal has also sent to this process
        if self._count > 1:
            self._stops_now = True
            if is_command():
                _exit(number, "" if self._quiet else "stopped immediately; everything saved so far is intact")
            return _GRACE_SECONDS
        self._first = now
        self.received = self.received or signal.Signals(number)
        if not self._quiet:
            again = "press Ctrl-C again" if number == signal.SIGINT else "send the signal again"
            with suppress(OSError, ValueError):
                print(f"\nstopping after this step; {again} to stop now", file=sys.stderr, flush=True)
        return _GRACE_SECONDS

    def _give_up(self, number: int) -> None:
        _exit(number, f"error: still running {_GRACE_SECONDS:.0f} s after {signal.Signals(number).name}; exiting now")


def interrupt_promptly() -> None:
    """From now on, Ctrl-C raises KeyboardInterrupt, and ends the process if that is not handled within a second.

    Python ignores an exception raised in a destructor or in a callback of the garbage collector. If it is this
    KeyboardInterrupt, the process ends immediately, because no handler can receive it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    default = sys.unraisablehook

    def end_on_interrupt(unraisable: "sys.UnraisableHookArgs") -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            _exit(signal.SIGINT, "interrupted")
        default(unraisable)

    sys.unraisablehook = end_on_interrupt
    Watcher(
        lambda number: _INTERRUPT_SECONDS if number == signal.SIGINT else None,
        lambda number: _exit(number, "interrupted"),
    )


def _exit(number: int, message: str) -> None:
    """Ends the process as the signal would, without waiting for the main thread."""
    with suppress(OSError, ValueError):  # the terminal may be gone
        if message:
            print(message, file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(128 + number)
