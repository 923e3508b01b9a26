#!/usr/bin/env python3
"""Several processes on this machine, as on several hosts; to try a multi-host run before paying for one.

    python launch/local.py --processes 2 train --config configs/digits.py --workdir runs/two

Each process has `--devices` emulated CPU devices, or with `--gpus` its equal share of so many GPUs. The first
one's output is shown, and the others' errors. SIGTERM goes to all of them, as Ctrl-C on a terminal does; the first
exit code that is not 0 is this script's. (One process alone uses all GPUs of a machine: this is not needed for that.)
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence


def start(
    count: int, arguments: Sequence[str], *, devices: int = 1, gpus: int = 0, **options
) -> list[subprocess.Popen]:
    """Starts `python -m bitdiff.ARGUMENTS` in `count` processes that know of each other.

    Args:
      count: how many processes.
      arguments: the command's name and its arguments.
      devices: emulated CPU devices of each process, where there are no GPUs.
      gpus: GPUs of this machine, shared evenly.
      **options: of subprocess.Popen, for all of them; an `env` is added to.
    """
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    processes = []
    for index in range(count):
        env = dict(options.get("env") or os.environ)
        if gpus:
            share = range(index * gpus // count, (index + 1) * gpus // count)
            env["JAX_LOCAL_DEVICE_IDS"] = ",".join(map(str, share))
        else:
            env["XLA_FLAGS"] = f"{env.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}".strip()
        cluster = ["--coordinator", f"localhost:{port}", "--num_processes", str(count), "--process_id", str(index)]
        line = [sys.executable, "-m", f"bitdiff.{arguments[0]}", *map(str, arguments[1:]), *cluster]
        processes.append(subprocess.Popen(line, **options | {"env": env}))
    return processes


def main() -> int:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--devices", type=int, default=1, help="emulated CPU devices of each process")
    parser.add_argument("--gpus", type=int, default=0, help="GPUs of this machine, shared evenly")
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
    signal.signal(signal.SIGINT, lambda number, frame: None)  # a terminal sends Ctrl-C to all by itself
    processes += start(given.processes, line, devices=given.devices, gpus=given.gpus)
    while any(process.poll() is None for process in processes):
        time.sleep(0.2)
    return next((process.returncode for process in processes if process.returncode), 0)


if __name__ == "__main__":
    sys.exit(main())
