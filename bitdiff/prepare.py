r"""Brings data into the form that training reads fastest.

    python -m bitdiff.prepare --config configs/cifar10.py
    python -m bitdiff.prepare --config configs/folder.py --config.data.path=FOLDER --config.data.image_size=64 \
        --config.data.resize=box --out prepared/pictures

Without --out it downloads and prepares a data set of TFDS. With --out it writes the images of any data set, at
their final size, into a folder of memory-mapped arrays; then train with
`--config.data.name=prepared --config.data.path=prepared/pictures`. Stopped and started again, it goes on.
"""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from bitdiff import commands, data
from bitdiff.data import prepared
from bitdiff.data.tfds import make_builder
from bitdiff.errors import UsageError
from bitdiff.logs import progress_bar


def download(options: Any) -> None:
    """Prepares the data set of a config's `data` section as ArrayRecord files, with TFDS' progress bars.

    What was downloaded is kept, so an interrupted preparation goes on with what is missing.

    Raises:
      UsageError: the config's data are not TFDS', or the download failed.
    """
    if options.name != "tfds":
        raise UsageError(
            f"config.data.name is {options.name!r}: only data sets of 'tfds' are downloaded; with --out, the images of "
            "any data set are written at their final size"
        )
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


def write_out(options: Any, folder: Path) -> None:
    """Writes the images of a config's `data` section into a folder for the data set 'prepared'."""
    dataset = data.load(options)
    with progress_bar("preparing", "image", total=len(dataset.train) + len(dataset.test)) as bar:
        prepared.write(folder, dataset, bar.update)
    print(
        f"{dataset.about}: {len(dataset.train)} training and {len(dataset.test)} test images in {folder}\n"
        f"To train on them: --config.data.name=prepared --config.data.path={folder}"
    )


def define_flags() -> None:
    """Defines the command's flags."""
    config_flags.DEFINE_config_file("config", None, "The configuration file whose data are prepared.")
    flags.DEFINE_string("out", None, "A folder to write images at their final size into; without it, TFDS prepares.")
    flags.mark_flag_as_required("config")


def main() -> None:
    """The command."""
    options = flags.FLAGS.config.data
    if flags.FLAGS.out is None:
        download(options)
    else:
        write_out(options, Path(flags.FLAGS.out).expanduser())


if __name__ == "__main__":
    define_flags()
    commands.run(main)
