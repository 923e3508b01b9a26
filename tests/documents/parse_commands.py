"""Parses command lines as the commands would, without running them; started by test_examples.py.

Reads one line `COMMAND ARGUMENTS...` at a time, and prints those that the command refuses.
"""

import importlib
import os
import shlex
import sys

from absl import flags

from bitdiff.cli import command


def parse(name: str, arguments: list[str]) -> int:
    """Parses one command line in a child process, since flags are defined once per process."""
    module = importlib.import_module(f"bitdiff.{name}")
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    module.define_flags()
    command._define_flags(None)
    sys.argv = [name, *arguments]  # where config_flags looks for overrides
    names = getattr(module, "CLAIMS", ())  # the arguments of bitdiff.findings
    rest = [argument for argument in command._parse(sys.argv)[1:] if argument not in names]
    if rest:
        print(f"unexpected arguments: {rest}", file=sys.stderr)
    if "config" in flags.FLAGS:
        _ = flags.FLAGS.config
    sys.stderr.flush()
    os._exit(2 if rest else 0)


if __name__ == "__main__":
    for line in sys.stdin:
        name, *arguments = shlex.split(line)
        if parse(name, arguments):
            print(f"refused: {line.strip()}")
