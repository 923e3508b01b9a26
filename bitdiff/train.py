"""Trains a model, or resumes training: python -m bitdiff.train --config digits --workdir runs/digits."""

import math
from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.training.trainer import train


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration")
    flags.DEFINE_string("workdir", None, "Folder of the run; training resumes if it holds one.", required=True)


def divisor() -> int:
    """The number of examples that the devices must divide evenly: those of a step, self-conditioned or not."""
    config = flags.FLAGS.config
    batch_size = config.train.batch_size // max(config.train.accumulate, 1)
    return math.gcd(batch_size, round(batch_size * config.diffusion.self_cond_rate))


def main() -> int:
    """Runs the command."""
    progress = train(flags.FLAGS.config, Path(flags.FLAGS.workdir))
    return 128 + progress.signal if progress.signal else 0


if __name__ == "__main__":
    define_flags()
    command.run(main, divisor=divisor)
