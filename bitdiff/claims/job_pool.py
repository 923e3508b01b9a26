"""Runs several commands of bitdiff at once on a CPU, each in its own process on a part of the cores."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.interrupts import StopSignals

_POLL_SECONDS = 0.2


class Stopped(NamedTuple):
    """A signal stopped the processes; what they had done was saved."""

    signal: signal.Signals


class Job(NamedTuple):
    """A command of bitdiff.

    name: what it does, in words; unique in a pool.
    arguments: the name of the command, and its arguments.
    log: the file to which its output is appended.
    after: the name of a job that must end first, or ''.
    ended: called with the minutes that it took, also if it was stopped.
    """

    name: str
    arguments: list[str]
    log: Path
    after: str = ""
    ended: Callable[[float], None] = lambda minutes: None


class _Started(NamedTuple):
    """A job, its process, and when it started."""

    job: Job
    process: subprocess.Popen
    start: float

    def end(self) -> int:
        """Waits until the process has ended; returns its exit code."""
        code = self.process.wait()
        self.job.ended((time.monotonic() - self.start) / 60)
        return code


def run_jobs(jobs: Sequence[Job], workers: int, *, title: str, unit: str) -> Stopped | None:
    """Runs commands, each after the one it depends on; those that begin a long chain of dependent ones come first.

    Args:
      jobs: the commands.
      workers: number of commands at a time; each gets an equal part of the CPU cores, and those beyond the number of
        cores get all of them.
      title: a word for the progress bar.
      unit: what each command processes, for the progress bar.

    Returns:
      The signal that stopped the commands, or None.

    Raises:
      UsageError: a command failed; the others were stopped.
    """
    waiting = list(jobs)
    with StopSignals() as stop, _processes() as running, progress_bar(title, unit, total=len(waiting)) as bar:
        while (waiting or running) and stop.received is None:
            for worker, started in list(running.items()):
                if started.process.poll() is not None:
                    del running[worker]
                    _check(started.job, started.end())
                    bar.update()
            unfinished = {job.name for job in waiting} | {started.job.name for started in running.values()}
            ready = sorted(
                (job for job in waiting if job.after not in unfinished), key=lambda job: -_chain_length(job, waiting)
            )
            for worker, job in zip([worker for worker in range(workers) if worker not in running], ready, strict=False):
                waiting.remove(job)
                running[worker] = _Started(job, _start(job, worker, workers), time.monotonic())
            time.sleep(_POLL_SECONDS)
        return None if stop.received is None else Stopped(stop.received)


def _chain_length(job: Job, waiting: Sequence[Job]) -> int:
    """The number of jobs in the longest chain that begins with a job."""
    return 1 + max((_chain_length(other, waiting) for other in waiting if other.after == job.name), default=0)


def _start(job: Job, worker: int, workers: int) -> subprocess.Popen:
    """Starts a command on its worker's part of the cores."""
    with job.log.open("a") as log:
        name, *arguments = job.arguments
        command = [sys.executable, "-m", f"bitdiff.{name}", *arguments]
        # The process gets its own session, so that it does not receive Ctrl-C in addition to the signal sent below.
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    cores = sorted(os.sched_getaffinity(0))[worker::workers] if hasattr(os, "sched_setaffinity") else []
    if cores:
        with suppress(ProcessLookupError):  # the process has already exited
            os.sched_setaffinity(process.pid, cores)
    return process


def _check(job: Job, code: int) -> None:
    """Raises UsageError if a command failed."""
    if code:
        errors = [line for line in job.log.read_text(errors="replace").splitlines() if line.startswith("error:")]
        reason = errors[-1].removeprefix("error:").strip() if errors else f"exit code {code}"
        raise UsageError(f"{job.name} failed: {reason}; its output is in {job.log}")


@contextmanager
def _processes() -> Iterator[dict[int, _Started]]:
    """The running processes by worker; at the end, stops those still running and waits until they have saved."""
    running: dict[int, _Started] = {}
    try:
        yield running
    finally:
        for started in running.values():
            if started.process.poll() is None:
                started.process.send_signal(signal.SIGTERM)
        for started in running.values():
            started.end()
