#!/usr/bin/env python3
"""Runs a command in several processes on this machine, to try a multi-host run before paying for one.

    python launch/local.py --processes 2 train --config configs/digits.py --workdir runs/two

Each process has `--devices` emulated CPU devices; with `--gpus`, that many GPUs are divided evenly instead. The output
of the first process and the errors of the others are shown. SIGTERM is forwarded to all of them, as Ctrl-C on a
terminal is; this script returns the first exit code that is not 0. (A single process already uses all GPUs of a machine
and does not need this script.)
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

GRACE_SECONDS = 30.0
_STOPPED = (128 + signal.SIGINT, 128 + signal.SIGTERM)  # the others are saving their checkpoint


def start(
    count: int, arguments: Sequence[str], *, devices: int = 1, gpus: int = 0, **options
) -> list[subprocess.Popen]:
    """Starts `python -m bitdiff.ARGUMENTS` in `count` processes that are connected to each other.

    Args:
      count: number of processes.
      arguments: the command's name and its arguments.
      devices: emulated CPU devices per process, if there are no GPUs.
      gpus: GPUs of this machine, divided evenly among the processes.
      **options: passed to subprocess.Popen for every process; variables are added to `env`.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = []
    for index in range(count):
        env = dict(options.get("env") or os.environ)
        if gpus:
            device_ids = range(index * gpus // count, (index + 1) * gpus // count)
            env["JAX_LOCAL_DEVICE_IDS"] = ",".join(map(str, device_ids))
        else:
            env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
        cluster = ["--coordinator", f"localhost:{port}", "--num_processes", str(count), "--process_id", str(index)]
        line = [sys.executable, "-m", f"bitdiff.{arguments[0]}", *map(str, arguments[1:]), *cluster]
        processes.append(subprocess.Popen(line, **options | {"env": env}))
    return processes


def main() -> int:
    """Parses the arguments, runs the processes and returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--devices", type=int, default=1, help="emulated CPU devices per process")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of this machine, divided evenly among the processes")
    parser.add_argument("command", choices=["train", "sample", "evaluate", "sweep", "reference"])
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.processes < 1 or given.gpus % given.processes:
        parser.error(f"{given.processes} processes cannot share {given.gpus} GPUs evenly")
    line = [given.command, *given.arguments]
    processes: list[subprocess.Popen] = []

    def forward(number: int, frame: object) -> None:
        del frame
        for process in processes:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, forward)
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal already sends Ctrl-C to all of them
    processes += start(given.processes, line, devices=given.devices, gpus=given.gpus)
    return wait(processes)


def wait(processes: Sequence[subprocess.Popen]) -> int:
    """Waits for all processes; once one has failed, the others get half a minute before they are killed.

    A process that is suspended or hangs would otherwise keep this script waiting forever.

    Returns:
      The first exit code that is not 0, or 0.
    """
    deadline = None
    while None in (codes := [process.poll() for process in processes]):
        if deadline is None and any(code not in (None, 0, *_STOPPED) for code in codes):
            deadline = time.monotonic() + GRACE_SECONDS
        if deadline is not None and time.monotonic() > deadline:
            for process in processes:
                process.kill()
        time.sleep(0.2)
    ended = [code for code in codes if code]
    return next((code for code in ended if code > 0), next(iter(ended), 0))


if __name__ == "__main__":
    sys.exit(main())
