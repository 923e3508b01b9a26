"""Loads the data set of a config's data section, and fills in the config from the data set's sizes."""

from pathlib import Path
from typing import Any

from bitdiff.data import (
    arithmetic,
    array_files,
    captioned,
    drawn_shapes,
    gaussians,
    idx_files,
    image_folder,
    pdbbind_files,
    photo_crops,
    pockets,
    prepared,
    sklearn_digits,
    text_lines,
    tfds,
    token_pairs,
)
from bitdiff.data.dataset import Dataset
from bitdiff.data.distilled import distilled
from bitdiff.runtime.errors import UsageError, choose

LOADERS = {
    "digits": sklearn_digits.load,
    "mixture": token_pairs.load,
    "gaussians": gaussians.load,
    "photos": photo_crops.load,
    "folder": image_folder.load,
    "idx": idx_files.load,
    "npz": array_files.load,
    "prepared": prepared.load,
    "shapes": drawn_shapes.load,
    "coco": captioned.load,
    "expressions": arithmetic.load,
    "text": text_lines.load,
    "tfds": tfds.load,
    "pockets": pockets.load,
    "pdbbind": pdbbind_files.load,
}

_PLURAL = {"tokens": "tokens", "point": "points", "pose": "poses"}
# Data sets that are generated or come with a dependency, so that they have no config.data.path.
BUILT_IN = ("digits", "mixture", "gaussians", "photos", "shapes", "expressions", "pockets")
OWN_VOCABULARY = ("shapes", "expressions")  # data sets whose tokenizer cannot be chosen
_TASKS = {
    "image": ("images", "masked", "prior", "distillation"),
    "point": ("points", "prior"),
    "pose": ("docking", "prior", "confidence"),
    "tokens": ("tokens", "autoregressive", "blocks", "masked", "prior", "distillation"),
    "captions": ("tokens", "autoregressive", "blocks", "masked", "prior", "distillation"),
}
# The values of fields that are taken from the data.
_UNSET = {"vocab_size": 0, "image_size": 0, "channels": 0, "length": 0, "tokenizer_hash": "", "eos": -1, "pad": -1}
_UNSET |= dict.fromkeys(("atoms", "torsions", "atom_types", "residue_types"), 0)


def load(options: Any) -> Dataset:
    """Loads the data set of a config's `data` section.

    Raises:
      UsageError: an unknown name, or data that cannot be used; the message says what and where.
    """
    choose("data set (config.data.name)", options.name, LOADERS)
    for field, largest in {"image_size": 2**13, "length": 2**16}.items():
        if not 0 <= options[field] <= largest:
            raise UsageError(f"config.data.{field} is {options[field]}; it must be from 0 to {largest}")
    dataset = LOADERS[options.name](options)
    return distilled(dataset, options) if options.distilled else dataset


def resolve(config: Any, dataset: Dataset, *, any_task: bool = False) -> Any:
    """A copy of the config whose data section states the sizes of the data set.

    Args:
      config: the configuration.
      dataset: the data set.
      any_task: whether config.task may be one that the data do not support, since the task is the caller's own.

    Raises:
      UsageError: the config states a size that the data do not have, or a task or option that they do not support.
    """
    if not any_task:
        _check_task(config, dataset)
    _check_augmentation(config.data, dataset)
    config = config.copy_and_resolve_references()
    for field in ("path", "tokenizer", "distilled"):
        if config.data[field] and "://" not in config.data[field]:
            # Absolute, so that a run finds its data from any folder.
            config.data[field] = str(Path(config.data[field]).expanduser().resolve())
    for field, value in _facts(dataset).items():
        _check_fact(config.data, field, value, dataset)
        config.data[field] = value
    if config.data.num_classes not in (-1, 0, dataset.num_classes):
        raise UsageError(
            f"config.data.num_classes is {config.data.num_classes}; it must be {dataset.num_classes}, as in the data, "
            "-1 for that number, or 0 to train without classes"
        )
    if config.data.num_classes == -1:
        config.data.num_classes = dataset.num_classes
    return config


def _facts(dataset: Dataset) -> dict[str, Any]:
    """The fields of a config's data section that follow from the data."""
    facts: dict[str, Any] = {"vocab_size": dataset.vocab_size}
    facts |= dict(dataset.sizes)
    if dataset.field == "point":
        facts["channels"] = dataset.shape[0]
    if dataset.field in ("image", "captions"):
        if dataset.shape[0] != dataset.shape[1]:
            raise UsageError(f"images are {dataset.shape[0]} x {dataset.shape[1]} pixels; they must be square")
        facts |= {"image_size": dataset.shape[0], "channels": dataset.shape[2]}
    if dataset.field in ("tokens", "captions"):
        facts["length"] = dataset.length or dataset.shape[0]
    if dataset.tokenizer:
        pieces = dataset.tokenizer
        facts |= {"tokenizer_hash": pieces.fingerprint(), "eos": pieces.eos, "pad": pieces.pad}
    return facts


def _check_fact(options: Any, field: str, value: Any, dataset: Dataset) -> None:
    # A tokenizer trained on the text may fill less than the requested vocabulary.
    smaller = field == "vocab_size" and dataset.tokenizer and not options.tokenizer and options[field] > value
    if options[field] not in (_UNSET[field], value) and not smaller:
        raise UsageError(
            f"config.data.{field} is {options[field]}, but the data have {value} ({dataset.about}); "
            f"set it to {_UNSET[field]!r} to take the value from the data"
        )


def _check_task(config: Any, dataset: Dataset) -> None:
    tasks = _TASKS[dataset.field]
    if config.task not in tasks:
        names = " or ".join(f"'config.task={task}'" for task in tasks)
        raise UsageError(f"config.task is {config.task!r}, but the data ({dataset.about}) require {names}")
    if dataset.field == "pose" and config.task != "confidence" and config.data.distilled:
        raise UsageError(
            f"config.data.distilled is {config.data.distilled!r}, but config.task is {config.task!r}; only confidence "
            "models are trained on sampled poses"
        )
    if (dataset.field == "captions") != bool(config.encoder):
        raise UsageError(
            f"config.encoder is {'set' if config.encoder else 'empty'}, but the data ({dataset.about}) have "
            f"{'no ' if config.encoder else ''}pictures to describe"
        )


def _check_augmentation(options: Any, dataset: Dataset) -> None:
    if not 0 < options.crop <= 1:
        raise UsageError(f"config.data.crop is {options.crop}; it must be above 0 and at most 1 (1 disables cropping)")
    if (options.flip or options.crop < 1) and dataset.field in _PLURAL:
        raise UsageError(
            f"config.data.flip or config.data.crop is set, but {_PLURAL[dataset.field]} cannot be flipped or cropped"
        )
    drawn, known = options.captions_drawn, options.captions
    if options.distilled and (drawn > 1 or options.curriculum_steps):
        raise UsageError(
            f"config.data.captions_drawn is {drawn} and config.data.curriculum_steps {options.curriculum_steps}; with "
            "config.data.distilled, which has one caption per picture, they must be 1 and 0"
        )
    if not 0 <= drawn <= known or options.curriculum_steps < 0 or (options.curriculum_steps and not drawn):
        raise UsageError(
            f"config.data.captions_drawn is {drawn} and config.data.curriculum_steps {options.curriculum_steps}; "
            f"captions_drawn must be from 0 (all) to config.data.captions, {known}, and a curriculum requires 1 or more"
        )
