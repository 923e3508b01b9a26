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

# What the data sets of the configs are published as.
_ARCHIVES = {
    "cifar10": "cifar-10-python.tar.gz",
    "imagenet2012": "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
    "imagenet_resized/64x64": "Imagenet64_train_part1.zip, Imagenet64_train_part2.zip and Imagenet64_val.zip",
    "downsampled_imagenet/64x64": "train_64x64.tar and valid_64x64.tar",
}


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
        reason = " ".join(str(error).split())[:1500]
        if isinstance(error, ImportError):
            raise UsageError(f"{builder.info.full_name} needs a package: {reason}; pip install it") from error
        if options.builder.startswith("coco_captions"):
            raise UsageError(
                f"{builder.info.full_name} could not be prepared in {builder.data_dir}: {reason}\n"
                "If its address is dead, get pictures and annotations by hand from cocodataset.org and use "
                "--config.data.name=coco with their folder as --config.data.path"
            ) from error
        archives = _ARCHIVES.get(options.builder, "its archives")
        raise UsageError(
            f"{builder.info.full_name} could not be prepared in {builder.data_dir}: {reason}\n"
            f"If its address is dead, get {archives} by hand from its home page ({builder.info.homepage}), unpack the "
            "pictures into a folder with one sub-folder per class and use --config.data.name=folder, or write them to "
            "an .npz file (`image` uint8 [N, H, W, 3], `label` int [N]) and use --config.data.name=npz; both take "
            "their place from --config.data.path, and the config's image_size and resize"
        ) from error
    print(f"{builder.info.full_name} is prepared in {builder.data_dir}")


def write_out(options: Any, folder: Path) -> None:
    """Writes the images of a config's `data` section into a folder for the data set 'prepared'."""
    dataset = data.load(options)
    with progress_bar("preparing", "image", total=len(dataset.train) + len(dataset.test)) as bar:
        try:
            prepared.write(folder, dataset, bar.update)
        except KeyboardInterrupt:
            print("stopped; the same command goes on from here")
            raise
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
