"""From a config's data section to a data set, and back: what the data say fills the config."""

from pathlib import Path
from typing import Any

from bitdiff.data import digits, folder, mixture, npz, photos, prepared, tfds
from bitdiff.data.dataset import Dataset
from bitdiff.errors import UsageError, choose

LOADERS = {
    "digits": digits.load,
    "mixture": mixture.load,
    "photos": photos.load,
    "folder": folder.load,
    "npz": npz.load,
    "prepared": prepared.load,
    "tfds": tfds.load,
}


def load(options: Any) -> Dataset:
    """Loads the data set of a config's `data` section.

    Raises:
      UsageError: an unknown name, or data that cannot be used; the message says what and where.
    """
    choose("data set (config.data.name)", options.name, LOADERS)
    for field, largest in {"image_size": 2**13, "length": 2**16}.items():
        if not 0 <= options[field] <= largest:
            raise UsageError(f"config.data.{field} is {options[field]}; it must be from 0 to {largest}")
    return LOADERS[options.name](options)


def resolve(config: Any, dataset: Dataset) -> Any:
    """A copy of the config whose data section states the sizes of the data set.

    Raises:
      UsageError: the config states a size that the data do not have.
    """
    facts = {"vocab_size": dataset.vocab_size}
    if dataset.field == "image":
        if dataset.shape[0] != dataset.shape[1]:
            raise UsageError(f"images are {dataset.shape[0]} x {dataset.shape[1]} pixels; they must be square")
        facts |= {"image_size": dataset.shape[0], "channels": dataset.shape[2]}
    else:
        facts |= {"length": dataset.shape[0]}
    task = {"image": "images", "tokens": "tokens"}[dataset.field]
    if config.task != task:
        raise UsageError(f"config.task is {config.task!r}, but the data ({dataset.about}) need 'config.task={task}'")

    if config.data.flip and dataset.field != "image":
        raise UsageError(f"config.data.flip is set, but {dataset.field} cannot be mirrored")
    config = config.copy_and_resolve_references()
    if config.data.path:
        config.data.path = str(Path(config.data.path).expanduser().resolve())  # a run is found from anywhere
    for field, value in facts.items():
        if config.data[field] not in (0, value):
            raise UsageError(
                f"config.data.{field} is {config.data[field]}, but the data have {value} ({dataset.about})"
            )
        config.data[field] = value
    if config.data.num_classes not in (-1, 0, dataset.num_classes):
        raise UsageError(
            f"config.data.num_classes is {config.data.num_classes}; the data have {dataset.num_classes} classes "
            "(0 trains without them)"
        )
    if config.data.num_classes == -1:
        config.data.num_classes = dataset.num_classes
    return config
