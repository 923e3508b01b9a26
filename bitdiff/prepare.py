r"""Prepares data for training: downloads TFDS data sets, or writes images at their final size.

    python -m bitdiff.prepare --config cifar10
    python -m bitdiff.prepare --config folder --config.data.path=FOLDER --config.data.image_size=64 \
        --config.data.resize=box --out prepared/pictures

Without --out, it downloads and prepares a TFDS data set. With --out, it writes the images of any data set, at
their final size, into a folder of memory-mapped arrays; then train with
`--config.data.name=prepared --config.data.path=prepared/pictures`. After an interruption, the same command resumes.
"""

from pathlib import Path

from absl import flags

from bitdiff import data
from bitdiff.cli import command
from bitdiff.data.preparing import download, write_images


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration whose data to prepare")
    flags.DEFINE_string("out", None, "Folder for images at their final size; by default a TFDS data set is downloaded.")


def main() -> None:
    """Runs the command."""
    options = flags.FLAGS.config.data
    if flags.FLAGS.out is None:
        download(options)
    else:
        write_images(data.load(options), Path(flags.FLAGS.out).expanduser())


if __name__ == "__main__":
    define_flags()
    command.run(main)
