"""Runs commands in forks of a process that has imported everything, which saves the imports' two seconds for each."""

import multiprocessing
import os
import runpy
import sys
from pathlib import Path
from typing import NoReturn

IMPORTS = "bitdiff.cli.sampling_flags"  # imports all that the commands use, and defines no command's own flags


def run_command(line: list[str], log: Path, folder: Path) -> NoReturn:
    """Redirects the output of this process to a file, runs a command, and exits with its code."""
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.chdir(folder)
    sys.argv = [f"bitdiff.{line[0]}", *line[1:]]
    code = 1
    try:
        runpy.run_module(f"bitdiff.{line[0]}", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def run(line: list[str], log: Path, folder: Path, environment: dict[str, str], limit: float) -> tuple[int, str]:
    """Runs a command in a fork of multiprocessing's server, since this process may have started jax's threads.

    Returns:
      The exit code, negative for a signal, and the output.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([IMPORTS])
    process = context.Process(target=_run_in_environment, args=(line, log, folder, environment))
    process.start()
    process.join(limit)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise TimeoutError(f"{line} did not end within {limit} s: {log.read_text(errors='replace')[-2000:]}")
    return process.exitcode, log.read_text(errors="replace")


def _run_in_environment(line: list[str], log: Path, folder: Path, environment: dict[str, str]) -> NoReturn:
    os.environ.update(environment)
    run_command(line, log, folder)
