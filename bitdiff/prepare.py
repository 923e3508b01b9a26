"""Downloads and prepares a data set of TFDS: python -m bitdiff.prepare --config configs/cifar10.py."""

from typing import Any

from absl import flags
from ml_collections import config_flags

from bitdiff import commands
from bitdiff.data.tfds import make_builder
from bitdiff.errors import UsageError


def prepare(options: Any) -> None:
    """Prepares the data set of a config's `data` section as ArrayRecord files, with TFDS' progress bars.

    What was downloaded is kept, so an interrupted preparation goes on with what is missing.

    Raises:
      UsageError: the config's data are not TFDS', or the download failed.
    """
    if options.name != "tfds":
        raise UsageError(f"config.data.name is {options.name!r}: only the data sets of 'tfds' are prepared")
    builder = make_builder(options)
    if builder.is_prepared():
        print(f"{builder.info.full_name} is prepared in {builder.data_dir}")
        return
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # whatever the network, the mirror or the disk does
        reason = " ".join(str(error).split())[:300]
        raise UsageError(
            f"{builder.info.full_name} could not be prepared in {builder.data_dir}: {reason}\n"
            f"If its address is dead, get the data by hand from its home page ({builder.info.homepage}) and train from "
            "a folder of images (--config.data.name=folder) or an array file (--config.data.name=npz) at "
            "--config.data.path, with the config's image_size and resize"
        ) from error
    print(f"{builder.info.full_name} is prepared in {builder.data_dir}")


def define_flags() -> None:
    """Defines the command's flags."""
    config_flags.DEFINE_config_file("config", None, "The configuration file whose data are prepared.")
    flags.mark_flag_as_required("config")


def main() -> None:
    """The command."""
    prepare(flags.FLAGS.config.data)


if __name__ == "__main__":
    define_flags()
    commands.run(main)
