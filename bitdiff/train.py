"""Trains a model, or resumes training: python -m bitdiff.train --config digits --workdir runs/digits."""

from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.runtime import processes
from bitdiff.runtime.console import table
from bitdiff.training.checks import device_divisor
from bitdiff.training.trainer import train


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration")
    flags.DEFINE_string("workdir", None, "Folder of the run; training resumes if it already holds one.", required=True)


def main() -> int:
    """Runs the command."""
    folder = Path(flags.FLAGS.workdir)
    progress = train(flags.FLAGS.config, folder)
    if progress.signal:
        return 128 + progress.signal
    if processes.is_main():
        commands = [f"python -m bitdiff.{name} --workdir {folder}" for name in ("sample", "evaluate")]
        print(table([("next", " or ".join(commands))]))
    return 0


if __name__ == "__main__":
    define_flags()
    command.run(main, divisor=lambda: device_divisor(flags.FLAGS.config))
