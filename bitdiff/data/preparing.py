"""Preparing data sets: downloading those of TFDS, and writing images at their final size."""

from pathlib import Path
from typing import Any

from bitdiff.data import prepared
from bitdiff.data.dataset import Dataset
from bitdiff.data.tfds import make_builder
from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError

# The archives in which the data sets of the configs are published.
_ARCHIVES = {
    "cifar10": "cifar-10-python.tar.gz",
    "imagenet2012": "ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar",
    "imagenet_resized/64x64": "Imagenet64_train_part1.zip, Imagenet64_train_part2.zip and Imagenet64_val.zip",
    "downsampled_imagenet/64x64": "train_64x64.tar and valid_64x64.tar",
}


def download(options: Any) -> None:
    """Prepares the TFDS data set of a config's `data` section as ArrayRecord files, with TFDS's progress bars.

    Downloaded files are kept, so an interrupted preparation continues with what is missing.

    Raises:
      UsageError: the config's data are not from TFDS, or the download failed.
    """
    if options.name != "tfds":
        raise UsageError(
            f"config.data.name is {options.name!r}; only 'tfds' data sets can be downloaded. With --out, the images of "
            "any data set are written at their final size"
        )
    builder = make_builder(options)
    if builder.is_prepared():
        print(f"{builder.info.full_name} is prepared in {builder.data_dir}")
        return
    try:
        builder.download_and_prepare(file_format="array_record")
    except Exception as error:  # networks, mirrors and disks fail in many ways
        reason = " ".join(str(error).split())[:1500]
        if isinstance(error, ImportError):
            raise UsageError(f"{builder.info.full_name} needs a package: {reason}; pip install it") from error
        if options.builder.startswith("coco_captions"):
            raise UsageError(
                f"{builder.info.full_name} could not be prepared in {builder.data_dir}: {reason}\n"
                "If its URL no longer works, download pictures and annotations from cocodataset.org by hand and use "
                "--config.data.name=coco with their folder as --config.data.path"
            ) from error
        archives = _ARCHIVES.get(options.builder, "its archives")
        raise UsageError(
            f"{builder.info.full_name} could not be prepared in {builder.data_dir}: {reason}\n"
            f"If its URL no longer works, download {archives} from its home page ({builder.info.homepage}) by hand, "
            "unpack the pictures into a folder with one subfolder per class and use --config.data.name=folder, or "
            "write them to an .npz file (`image` uint8 [N, H, W, 3], `label` int [N]) and use --config.data.name=npz; "
            "for both, set --config.data.path"
        ) from error
    print(f"{builder.info.full_name} is prepared in {builder.data_dir}")


def write_images(dataset: Dataset, folder: Path) -> None:
    """Writes the images of a data set into a folder for the data set 'prepared', with a progress bar.

    Raises:
      UsageError: see `prepared.write`.
    """
    with progress_bar("preparing", "image", total=len(dataset.train) + len(dataset.test)) as bar:
        try:
            prepared.write(folder, dataset, bar.update)
        except KeyboardInterrupt:
            print("stopped; the same command resumes from here")
            raise
    print(
        f"{dataset.about}: {len(dataset.train)} training and {len(dataset.test)} test images in {folder}\n"
        f"To train on them: --config.data.name=prepared --config.data.path={folder}"
    )
