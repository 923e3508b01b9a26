"""Builds networks from the sections of a config."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from bitdiff.networks.block_head import BlockHead
from bitdiff.networks.latent_networks import LATENT_ENCODERS, LatentEncoder, LatentTransformer
from bitdiff.networks.mlp import MLP
from bitdiff.networks.pointer_encoder import PointerEncoder
from bitdiff.networks.pointer_prior import PointerPrior
from bitdiff.networks.pose_confidence import PoseConfidence
from bitdiff.networks.pose_network import PoseNetwork, PoseTrunk, Reach
from bitdiff.networks.transformer import Transformer
from bitdiff.networks.unet import UNet
from bitdiff.networks.vit import ViT
from bitdiff.runtime.errors import UsageError, choose

NETWORKS = {"unet": UNet, "transformer": Transformer, "mlp": MLP}
ENCODERS = {"vit": ViT}
_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def make_network(options: Mapping[str, Any], *, out_channels: int, num_classes: int, **facts: Any) -> nn.Module:
    """The network described by a config's `network` section.

    Args:
      options: the section.
      out_channels: channels of the network's output.
      num_classes: number of classes, 0 for an unconditional network.
      **facts: further attributes that follow from the data: length, vocab_size, crosses and lagged of the Transformer,
        context_groups of the U-Net.

    Raises:
      UsageError: an unknown network name, field or dtype.
    """
    choose("network", options["name"], NETWORKS)
    facts |= {"out_channels": out_channels, "num_classes": num_classes}
    return _make(NETWORKS[options["name"]], "network", options, facts)


def make_block_head(options: Mapping[str, Any], *, out_channels: int, length: int) -> BlockHead:
    """The denoiser of a block of `length` tokens that a config's `blocks.head` section describes.

    Raises:
      UsageError: an unknown field or dtype.
    """
    return BlockHead(make_network(options, out_channels=out_channels, num_classes=0, length=length))


def make_encoder(options: Mapping[str, Any]) -> ViT | None:
    """The image encoder described by a config's `encoder` section; None if the section is empty.

    Raises:
      UsageError: an unknown name, field or dtype.
    """
    if not options:
        return None
    choose("image encoder", options["name"], ENCODERS)
    return _make(ENCODERS[options["name"]], "encoder", options, {})


def make_latent_networks(options: Mapping[str, Any]) -> tuple[LatentEncoder, LatentTransformer]:
    """The networks that infer and embed the latents of a config's `latents` section.

    Raises:
      UsageError: an unknown encoder, field or dtype.
    """
    choose("latent encoder (config.latents.encoder.kind)", options["encoder"]["kind"], LATENT_ENCODERS)
    facts = {name: options[name] for name in ("count", "codes")}
    encoder = _make(LatentEncoder, "latents.encoder", options["encoder"], facts)
    return encoder, _make(LatentTransformer, "latents.embed", options["embed"], facts)


def make_pose_network(config: Any) -> PoseNetwork:
    """Docking's network, as the sections `network`, `latents` and `data` of a config describe it."""
    return PoseNetwork(_make_trunk(config))


def make_pointer_prior(config: Any) -> PointerPrior:
    """The prior of docking's latents, whose trunk is that of `make_pose_network`."""
    return PointerPrior(_make_trunk(config))


def make_pose_confidence(config: Any) -> PoseConfidence:
    """The network of a confidence model, with the trunk of `make_pose_network`."""
    return PoseConfidence(_make_trunk(config))


def make_pointer_encoder(config: Any) -> PointerEncoder:
    """The encoder of docking's latents, as the sections `network`, `latents` and `data` of a config describe it."""
    sizes = {name: config.latents.encoder[name] for name in ("scalars", "vectors", "layers")}
    return PointerEncoder(**_pose_facts(config), **sizes, count=config.latents.count)


def _make_trunk(config: Any) -> PoseTrunk:
    sizes = {name: config.network[name] for name in ("scalars", "vectors", "layers")}
    return PoseTrunk(**_pose_facts(config), **sizes, latents=config.latents.count)


def _pose_facts(config: Any) -> dict[str, Any]:
    reach = Reach(*(config.network[name] for name in Reach._fields))
    return {"atom_types": config.data.atom_types, "residue_types": config.data.residue_types, "reach": reach}


def _make(kind: type[nn.Module], section: str, options: Mapping[str, Any], facts: Mapping[str, Any]) -> Any:
    # Lists, as JSON gives them, would make the module unhashable.
    options = {key: tuple(value) if isinstance(value, list | tuple) else value for key, value in options.items()}
    dtype = options.pop("dtype")
    choose("dtype", dtype, _DTYPES)
    options = {key: value for key, value in options.items() if key not in ("name", "weights")}
    try:
        return kind(**facts, dtype=_DTYPES[dtype], **options)
    except TypeError as error:
        raise UsageError(f"config.{section}: {error}") from error
