"""Checks for invalid combinations of config fields, before anything is built.

The codec and the objective check their own fields, see `parts.py`.
"""

from collections.abc import Sequence
from typing import Any

from bitdiff.configuration.base import base_config
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.options import hashable

_NOT_IN_BLOCKS = (
    "latents.count",
    "diffusion.lag",
    "diffusion.trained_guidance",
    "diffusion.label_dropout",
    "diffusion.image_dropout",
)


def _all_but(section: str, *used: str) -> tuple[str, ...]:
    """The fields of a section of the config, except for those that a kind of model uses."""
    return tuple(f"{section}.{name}" for name in base_config()[section] if name not in used)


# Every kind of model has a schedule's options and self_cond_rate in its config.
_IN_ALL = ("schedule_options", "self_cond_rate")
_NOT_CAUSAL = ("latents.count", *_all_but("bits"), *_all_but("diffusion", "label_dropout", *_IN_ALL))
_NOT_MASKED = ("latents.count", "bits.scale", *_all_but("diffusion", "label_dropout", "image_dropout", *_IN_ALL))
_NOT_DOCKING = (
    "latents.codes",
    "latents.groups",
    "latents.route",
    "latents.kl",
    *_all_but("bits"),
    *_all_but("diffusion", *_IN_ALL),
)
_POINTER_PRIOR = "a prior over pointers"
_LARGEST_SIGMA = {"rotation": 3.0, "torsion": 4.0}  # beyond these, scores are below float32's precision
_EDM = {"prediction": "x0", "loss": "l2", "head": "linear", "lag": 0, "time_input": "gamma"}


def check_denoising(
    config: Any, field: str, grid: tuple[int, ...], channels: int, *, custom_network: bool = False
) -> None:
    """Checks the sections of a config against one another.

    Args:
      config: a resolved config.
      field: 'image', 'tokens' or 'point'.
      grid: (H, W), (L,) or ().
      channels: values per grid position.
      custom_network: whether the network is not the one that config.network describes.

    Raises:
      UsageError: an unknown name, a missing size, or incompatible sections.
    """
    _check_sizes(config, field, grid, channels)
    _check_pictures(config)
    _check_unused(config)
    _check_edm(config.diffusion)
    _check_trained_guidance(config.diffusion)
    if not custom_network:
        _check_network(config, field)
    if config.latents.count:
        _check_latents(config, field)


def check_autoregressive(config: Any) -> None:
    """Checks the sections of an autoregressive model's config.

    Raises:
      UsageError: a size that is missing, or a network that does not fit.
    """
    data = config.data
    if min(data.length, data.vocab_size - 1) < 1 or data.num_classes < 0:
        raise UsageError(
            f"config.data has length {data.length}, vocab_size {data.vocab_size} and num_classes {data.num_classes}; "
            "an autoregressive model requires at least 1, 2 and 0"
        )
    if config.network.name != "transformer" or config.network.embed_layers != 1:
        raise UsageError("an autoregressive model requires config.network.name 'transformer' and embed_layers 1")
    _check_unsupported(config, _NOT_CAUSAL, "an autoregressive model")
    _check_unused(config)
    _check_pictures(config)


def check_blocks(config: Any) -> None:
    """Checks the sections of the config of a model that samples block by block.

    Raises:
      UsageError: a size or section that is missing, or options that blocks do not support.
    """
    _check_sizes(config, "tokens", (config.data.length,), 1)
    if config.network.name != "transformer" or config.network.embed_layers != 1:
        raise UsageError("blocks require config.network.name 'transformer' and embed_layers 1")
    if not config.blocks.head or config.blocks.head.name != "transformer":
        raise UsageError("config.blocks.head is empty; set it to bitdiff.configuration.sections.transformer()")
    if config.blocks.size > config.data.length:
        raise UsageError(
            f"config.blocks.size is {config.blocks.size}; it must be from 1 to the length of the sequences, "
            f"{config.data.length}"
        )
    _check_unsupported(config, _NOT_IN_BLOCKS, "blocks")
    _check_pictures(config)


def check_masked(
    config: Any, field: str, grid: tuple[int, ...], channels: int, *, custom_network: bool = False
) -> None:
    """Checks the sections of a masked diffusion model's config; the arguments are those of `check_denoising`.

    Raises:
      UsageError: a size that is missing, fields that the model would ignore, or a network that does not fit.
    """
    _check_sizes(config, field, grid, channels)
    _check_unsupported(config, _NOT_MASKED, "masked diffusion")
    _check_no_schedule(config, "masked diffusion")
    if config.bits.encoding == "continuous":
        raise UsageError("config.bits.encoding is 'continuous'; masked diffusion requires a discrete encoding")
    _check_pictures(config)
    _check_unused(config)
    if not custom_network:
        _check_network(config, field)


def check_docking(config: Any) -> None:
    """Checks the sections of a docking model's config.

    Raises:
      UsageError: a size that is missing, fields that the model would ignore, or a network that does not fit.
    """
    data = config.data
    missing = [name for name in ("atoms", "length", "atom_types", "residue_types") if data[name] < 1]
    if missing:
        raise UsageError(
            f"{' and '.join(f'config.data.{name}' for name in missing)} must be 1 or more with docking: set the sizes, "
            "or let bitdiff.data.resolve fill them in"
        )
    if config.network.name != "pose":
        raise UsageError(f"config.network.name is {config.network.name!r}; docking requires 'pose'")
    _check_unsupported(config, _NOT_DOCKING, "docking")
    _check_no_schedule(config, "docking")
    _check_unused(config)
    if config.latents.count and config.latents.encoder.kind != "pointers":
        raise UsageError(f"config.latents.encoder.kind is {config.latents.encoder.kind!r}; docking requires 'pointers'")
    for part in ("translation", "rotation", "torsion"):
        low, high = config.docking[part]
        if low >= high:
            raise UsageError(f"config.docking.{part} is {(low, high)}; the first sigma must be smaller than the second")
        if high > _LARGEST_SIGMA.get(part, high):
            raise UsageError(
                f"config.docking.{part} is {(low, high)}; the second sigma must be at most {_LARGEST_SIGMA[part]:g}, "
                "where angles are already uniform"
            )


def check_pointer_prior(config: Any) -> None:
    """Checks the sections of the config of a prior over pointers, whose sigmas are those of the docking run.

    Raises:
      UsageError: fields that the prior would ignore.
    """
    _check_unsupported(config, (*(f"docking.{name}" for name in base_config().docking), *_NOT_DOCKING), _POINTER_PRIOR)
    _check_no_schedule(config, _POINTER_PRIOR)


def check_confidence(config: Any) -> None:
    """Checks the sections of a confidence model's config; latents and sigmas are those of the docking run.

    Raises:
      UsageError: fields that the model would ignore.
    """
    ignored = ("latents.count", *(f"docking.{name}" for name in base_config().docking), *_NOT_DOCKING)
    _check_unsupported(config, ignored, "a confidence model")
    _check_no_schedule(config, "a confidence model")
    _check_unused(config)


def _check_no_schedule(config: Any, model: str) -> None:
    """Rejects self-conditioning and options of the gamma schedule in a model that has neither."""
    if config.diffusion.self_cond_rate:
        raise UsageError(
            f"config.diffusion.self_cond_rate is {config.diffusion.self_cond_rate}; it must be 0 with {model}"
        )
    given = [name for name, value in config.diffusion.schedule_options.items() if value not in (None, (), [])]
    if given:
        raise UsageError(f"config.diffusion.schedule_options.{given[0]} is set; {model} has no gamma schedule")


def _check_unsupported(config: Any, fields: Sequence[str], model: str) -> None:
    """Rejects fields that the model would ignore."""
    for field in fields:
        section, _, name = field.partition(".")
        value, default = hashable(config[section][name]), hashable(base_config()[section][name])
        if value != default:
            raise UsageError(f"config.{field} is {value!r}; it must be {default!r} with {model}")


def _check_unused(config: Any) -> None:
    """Rejects fields of blocks and of latents in a model that has none."""
    if config.task != "blocks" and config.blocks.size != 1:
        raise UsageError(f"config.blocks.size is {config.blocks.size}; it must be 1 unless config.task is 'blocks'")
    if not config.latents.count:
        _check_unsupported(config, ("latents.kl", "latents.route"), "config.latents.count 0")


def _check_sizes(config: Any, field: str, grid: tuple[int, ...], channels: int) -> None:
    if min((*grid, channels)) < 1 or config.data.num_classes < 0:
        raise UsageError(
            f"config.data does not state the sizes of {field} values ({grid}, {channels} channels, "
            f"{config.data.num_classes} classes); set them, or let bitdiff.data.resolve fill them in"
        )


def _check_pictures(config: Any) -> None:
    if config.diffusion.image_dropout and not config.encoder:
        raise UsageError(
            f"config.diffusion.image_dropout is {config.diffusion.image_dropout}, but config.encoder is empty: the "
            "model is not conditioned on pictures"
        )


def _check_edm(options: Any) -> None:
    chosen = {name: options[name] for name in _EDM}
    if options.sigma_data and chosen != _EDM:
        raise UsageError(
            f"config.diffusion.sigma_data is {options.sigma_data}; it must be 0, or above 0 (EDM) with prediction x0, "
            "loss l2, head linear, lag 0 and time_input gamma"
        )


def _check_trained_guidance(options: Any) -> None:
    learnable = options.prediction == "x0" and options.loss == "l2" and options.self_cond_rate > 0
    if options.trained_guidance and (not learnable or options.trained_guidance <= 1):
        raise UsageError(
            f"config.diffusion.trained_guidance is {options.trained_guidance}; it must be 0, or above 1 with "
            "prediction x0, loss l2 and self_cond_rate above 0"
        )


def _check_network(config: Any, field: str) -> None:
    lag, network = config.diffusion.lag, config.network.name
    if lag and network != "transformer":
        raise UsageError(f"config.diffusion.lag is {lag}; it must be 0, or above 0 with a 'transformer'")
    if network == "mlp" and field != "point":
        raise UsageError(f"config.network.name is 'mlp', which is for points; {field} requires a unet or a transformer")
    if config.latents.groups != 1 and network != "unet":
        raise UsageError(f"config.latents.groups is {config.latents.groups}; only a 'unet' supports more than 1")


def _check_latents(config: Any, field: str) -> None:
    latents = config.latents
    if latents.codes < 2:
        raise UsageError(
            f"config.latents has count {latents.count} and codes {latents.codes}; latents require 2 codes or more"
        )
    if latents.route == "modulation" and latents.groups > 1:
        raise UsageError(f"config.latents.groups is {latents.groups}; only latents with route 'attention' have groups")
    fields = {"vit": "image", "bag": "tokens"}
    only = fields.get(latents.encoder.kind, field)
    if only != field:
        others = [kind for kind in ("mlp", "vit", "bag") if fields.get(kind, field) == field]
        raise UsageError(
            f"config.latents.encoder.kind is {latents.encoder.kind!r}, which is for "
            f"{'images' if only == 'image' else only}; {field} requires {' or '.join(map(repr, others))}"
        )
    if config.encoder and latents.route == "attention" and latents.embed.dim != config.encoder.dim:
        raise UsageError(
            f"config.latents.embed.dim is {latents.embed.dim} and config.encoder.dim {config.encoder.dim}: a network "
            "that attends to both requires the same width"
        )
