"""Configs of runs that were trained before a field existed: the field takes its default, which changes nothing."""

from collections.abc import Mapping, Sequence
from typing import Any

from bitdiff.configuration.base import base_config

# Fields that were added later; a config that lacks any other field is damaged.
ADDED = (
    "blocks",
    "distillation",
    "docking",
    "optimizer.freeze_steps",
    "data.distilled",
    "data.atoms",
    "data.torsions",
    "data.atom_types",
    "data.residue_types",
    "latents.kl",
    "latents.route",
    "diffusion.matched_filter",
    "evaluate.candidates",
    "diffusion.weight",
    "diffusion.schedule_run",
    "diffusion.schedule_options.levels",
    "sample.schedule_options.levels",
    "prior.sample.schedule_options.levels",
    "diffusion.trained_guidance",
    "sample.churn_fraction",
    "prior.sample.churn_fraction",
    "sample.temperature",
    "prior.sample.temperature",
)


def upgraded(content: Any) -> Any:
    """A copy of a config, as read from JSON, with the fields that were added after it was written.

    Anything that is not a config is returned as it is, to be refused by `check_config`.
    """
    if not isinstance(content, Mapping):
        return content
    content = dict(content)
    defaults = base_config().to_dict()
    for path in ADDED:
        _add(content, path.split("."), defaults)
    if content.get("first"):
        content["first"] = upgraded(content["first"])
    return content


def _add(section: dict[str, Any], names: Sequence[str], defaults: Any) -> None:
    name, *rest = names
    if not rest:
        section.setdefault(name, defaults[name])
    elif isinstance(section.get(name), Mapping):
        section[name] = dict(section[name])
        _add(section[name], rest, defaults[name])
