"""Trains a model, or resumes training: python -m bitdiff.train --config digits --workdir runs/digits."""

from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.training.checks import device_divisor
from bitdiff.training.trainer import train


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration")
    flags.DEFINE_string("workdir", None, "Folder of the run; training resumes if it already holds one.", required=True)


def main() -> int:
    """Runs the command."""
    progress = train(flags.FLAGS.config, Path(flags.FLAGS.workdir))
    return 128 + progress.signal if progress.signal else 0


if __name__ == "__main__":
    define_flags()
    command.run(main, divisor=lambda: device_divisor(flags.FLAGS.config))
