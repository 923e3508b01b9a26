"""Checks of a configuration, from a file, the command line or a workdir, against the tables of its fields."""

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from bitdiff.configuration import base, sections
from bitdiff.configuration.fields import Field, Table, text
from bitdiff.runtime.errors import UsageError

CUSTOM = "custom"  # the name of a network that no config describes
NETWORKS = {"unet": sections.UNET, "transformer": sections.TRANSFORMER, "mlp": sections.MLP, "pose": sections.POSE}
ENCODERS = {"vit": sections.VIT}
_HEADS = {"transformer": sections.TRANSFORMER}
_SECTIONS = {
    "data": base.DATA,
    "bits": base.BITS,
    "docking": base.DOCKING,
    "optimizer": base.OPTIMIZER,
    "train": base.TRAIN,
    "checkpoint": base.CHECKPOINT,
    "distillation": base.DISTILLATION,
    "evaluate": base.EVALUATE,
}
_NESTED = ("diffusion", "blocks", "latents", "network", "encoder", "sample", "prior", "first")
_NAME = text("", "the network")
_LONGEST = 60  # characters of a value that a message quotes


def check_config(config: Any, *, extra: bool = False, prefix: str = "config") -> None:
    """Checks that a config has every field and no others, and that every value is valid.

    Args:
      config: the config, with lists in place of tuples if it was read from JSON.
      extra: whether it may have additional fields and no network, because the caller supplies the task.
      prefix: what its fields are called in messages.

    Raises:
      UsageError: a field is missing or unknown, or its value has the wrong type or is out of range.
    """
    if not isinstance(config, Mapping) and not hasattr(config, "items"):
        raise UsageError(f"{prefix} is {_quote(config)}; it must have sections and fields")
    table = {name: config[name] for name in config}
    _check_names(prefix, table, [*base.TOP, *_SECTIONS, *_NESTED], extra)
    _check_fields(prefix, table, base.TOP)
    for name, fields in _SECTIONS.items():
        check_section(f"{prefix}.{name}", table[name], fields, extra=extra)
    _check_diffusion(f"{prefix}.diffusion", table["diffusion"], extra)
    check_section(f"{prefix}.blocks", table["blocks"], base.BLOCKS, nested=("head",), extra=extra)
    _check_choice(f"{prefix}.blocks.head", table["blocks"]["head"], _HEADS, custom=True)
    _check_latents(f"{prefix}.latents", table["latents"], extra)
    _check_choice(f"{prefix}.network", table["network"], NETWORKS, custom=extra)
    _check_choice(f"{prefix}.encoder", table["encoder"], ENCODERS, custom=True)
    check_sampling(f"{prefix}.sample", table["sample"])
    check_section(f"{prefix}.prior", table["prior"], base.PRIOR, nested=("sample",), extra=extra)
    check_sampling(f"{prefix}.prior.sample", table["prior"]["sample"])
    if not isinstance(table["first"], Mapping) and not hasattr(table["first"], "items"):
        raise UsageError(f"{prefix}.first is {_quote(table['first'])}; it must be a config, or empty")
    if len(table["first"]) and prefix == "config":
        check_config(table["first"], extra=extra, prefix="config.first")


def check_section(name: str, section: Any, fields: Table, *, nested: Iterable[str] = (), extra: bool = False) -> None:
    """Checks one section; `nested` are the sections within it.

    Raises:
      UsageError: as in `check_config`.
    """
    if not hasattr(section, "items"):
        raise UsageError(f"{name} is {_quote(section)}; it must be a section with the fields {', '.join(fields)}")
    _check_names(name, section, [*fields, *nested], extra)
    _check_fields(name, section, fields)


def check_sampling(name: str, section: Any) -> None:
    """Checks a section of sampling options."""
    check_section(name, section, base.SAMPLE, nested=("schedule_options",))
    check_section(f"{name}.schedule_options", section["schedule_options"], base.SCHEDULE_OPTIONS)


def check_value(name: str, value: Any, field: Field) -> None:
    """Checks the value of a field.

    Raises:
      UsageError: it has the wrong type or is out of range.
    """
    if not field.accepts(value):
        raise UsageError(f"{name} is {_quote(value)}; it must be {field.valid}")


def _check_diffusion(name: str, section: Any, extra: bool) -> None:
    check_section(name, section, base.DIFFUSION, nested=("schedule_options",), extra=extra)
    check_section(f"{name}.schedule_options", section["schedule_options"], base.SCHEDULE_OPTIONS)


def _check_latents(name: str, section: Any, extra: bool) -> None:
    check_section(name, section, base.LATENTS, nested=("encoder", "embed"), extra=extra)
    parts = {"encoder": sections.LATENT_ENCODER, "embed": sections.LATENT_TRANSFORMER}
    for part in parts:
        if not hasattr(section[part], "items"):
            raise UsageError(f"{name}.{part} is {_quote(section[part])}; it must be a section")
    if section["encoder"].get("kind") == "pointers":
        parts = {"encoder": sections.POINTER_ENCODER}
    for part, fields in parts.items():
        if section["count"] or len(section[part]):
            check_section(f"{name}.{part}", section[part], fields)


def _check_choice(name: str, section: Any, tables: Mapping[str, Table], *, custom: bool) -> None:
    """Checks a section whose fields depend on its `name`; with `custom`, it may also be empty or named 'custom'."""
    if not hasattr(section, "items"):
        raise UsageError(f"{name} is {_quote(section)}; it must be a section")
    if custom and (not len(section) or section.get("name") == CUSTOM):
        return
    if "name" not in section:
        raise UsageError(f"{name} has no name; valid names are: {', '.join(tables)}")
    check_value(f"{name}.name", section["name"], _NAME)
    if section["name"] in tables:  # the registry of networks checks all other names
        check_section(name, section, tables[section["name"]])


def _check_names(prefix: str, section: Any, names: list[str], extra: bool) -> None:
    missing = [name for name in names if name not in section]
    if missing:
        raise UsageError(
            f"{prefix}.{missing[0]} is missing: the config was written by an incompatible version of bitdiff, or "
            "edited; start from base_config() or a shipped config"
        )
    unknown = [] if extra else [str(name) for name in section if name not in names]
    if unknown:
        close = difflib.get_close_matches(unknown[0], names, n=1)
        hint = f"; did you mean {prefix}.{close[0]}?" if close else f"; the fields are: {', '.join(sorted(names))}"
        raise UsageError(f"there is no field {prefix}.{_quote(unknown[0]).strip(chr(39))}{hint}")


def _check_fields(prefix: str, section: Any, fields: Table) -> None:
    for name, field in fields.items():
        check_value(f"{prefix}.{name}", section[name], field)


def _quote(value: Any) -> str:
    quoted = re.sub(r"\s+", " ", repr(value))
    return quoted if len(quoted) <= _LONGEST else quoted[: _LONGEST - 3] + "..."
