"""From a config's data section to a data set, and back: what the data say fills the config."""

from pathlib import Path
from typing import Any

from bitdiff.data import (
    array_files,
    captioned,
    drawn_shapes,
    gaussians,
    image_folder,
    photo_crops,
    prepared,
    sklearn_digits,
    text_lines,
    tfds,
    token_pairs,
)
from bitdiff.data.dataset import Dataset
from bitdiff.runtime.errors import UsageError, choose

LOADERS = {
    "digits": sklearn_digits.load,
    "mixture": token_pairs.load,
    "gaussians": gaussians.load,
    "photos": photo_crops.load,
    "folder": image_folder.load,
    "npz": array_files.load,
    "prepared": prepared.load,
    "shapes": drawn_shapes.load,
    "coco": captioned.load,
    "text": text_lines.load,
    "tfds": tfds.load,
}

_PLURAL = {"tokens": "tokens", "point": "points"}
# What leaves a field to the data.
_OPEN = {"vocab_size": 0, "image_size": 0, "channels": 0, "length": 0, "tokenizer_hash": "", "eos": -1, "pad": -1}


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
    if dataset.field == "point":
        facts |= {"channels": dataset.shape[0]}
    if dataset.field in ("image", "captions"):
        if dataset.shape[0] != dataset.shape[1]:
            raise UsageError(f"images are {dataset.shape[0]} x {dataset.shape[1]} pixels; they must be square")
        facts |= {"image_size": dataset.shape[0], "channels": dataset.shape[2]}
    if dataset.field in ("tokens", "captions"):
        facts |= {"length": dataset.length or dataset.shape[0]}
    if dataset.tokenizer:
        pieces = dataset.tokenizer
        facts |= {"tokenizer_hash": pieces.fingerprint(), "eos": pieces.eos, "pad": pieces.pad}
    tasks = {
        "image": ("images", "prior"),
        "point": ("points", "prior"),
        "tokens": ("tokens", "autoregressive", "prior"),
        "captions": ("tokens", "autoregressive"),
    }[dataset.field]
    if config.task not in tasks:
        names = " or ".join(f"'config.task={task}'" for task in tasks)
        raise UsageError(f"config.task is {config.task!r}, but the data ({dataset.about}) need {names}")
    if (dataset.field == "captions") != bool(config.encoder):
        raise UsageError(
            f"config.encoder is {'set' if config.encoder else 'empty'}, but the data ({dataset.about}) have "
            f"{'no ' if config.encoder else ''}pictures to be described"
        )
    if not 0 < config.data.crop <= 1:
        raise UsageError(f"config.data.crop is {config.data.crop}; it must be above 0, and 1 crops nothing")
    if (config.data.flip or config.data.crop < 1) and dataset.field in ("tokens", "point"):
        raise UsageError(
            f"config.data.flip or .crop is set, but {_PLURAL[dataset.field]} cannot be mirrored or cropped"
        )
    drawn, known = config.data.captions_drawn, config.data.captions
    if not 0 <= drawn <= known or config.data.curriculum_steps < 0 or (config.data.curriculum_steps and not drawn):
        raise UsageError(
            f"config.data.captions_drawn is {drawn} and .curriculum_steps {config.data.curriculum_steps}; of "
            f"{known} captions of a picture (config.data.captions) 0 (all) to {known} are drawn, and a curriculum "
            "needs 1 or more"
        )
    config = config.copy_and_resolve_references()
    for field in ("path", "tokenizer"):
        if config.data[field] and "://" not in config.data[field]:
            config.data[field] = str(Path(config.data[field]).expanduser().resolve())  # a run is found from anywhere
    for field, value in facts.items():
        smaller = (
            field == "vocab_size" and dataset.tokenizer and not config.data.tokenizer and config.data[field] > value
        )
        if config.data[field] not in (_OPEN[field], value) and not smaller:
            raise UsageError(
                f"config.data.{field} is {config.data[field]}, but the data have {value} ({dataset.about}); "
                f"{_OPEN[field]!r} takes theirs"
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
