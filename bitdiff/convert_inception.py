"""Converts Inception's weights for FID: python -m bitdiff.convert_inception --weights FILE.pth --out inception.npz."""

from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.metrics import inception_weights


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("weights", None, "The file pt_inception-2015-12-05-6726825d.pth.", required=True)
    flags.DEFINE_string("out", "inception.npz", "The file to write.")


def main() -> None:
    """Runs the command."""
    digest = inception_weights.convert(Path(flags.FLAGS.weights), Path(flags.FLAGS.out))
    print(f"wrote {flags.FLAGS.out}; the SHA-256 of its source is {digest}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
