"""Flax linen networks; they know nothing of diffusion."""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp

from bitdiff.errors import UsageError, choose
from bitdiff.networks.transformer import Transformer
from bitdiff.networks.unet import UNet

NETWORKS = {"unet": UNet, "transformer": Transformer}
_DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def make_network(options: Mapping[str, Any], *, out_channels: int, num_classes: int) -> nn.Module:
    """The network that a config's `network` section describes.

    Raises:
      UsageError: an unknown network name, field or dtype.
    """
    options = dict(options)
    name, dtype = options.pop("name"), options.pop("dtype")
    choose("network", name, NETWORKS)
    choose("dtype", dtype, _DTYPES)
    # Lists, as JSON gives them, would make the module unhashable.
    options = {key: tuple(value) if isinstance(value, list | tuple) else value for key, value in options.items()}
    try:
        return NETWORKS[name](out_channels=out_channels, num_classes=num_classes, dtype=_DTYPES[dtype], **options)
    except TypeError as error:
        raise UsageError(f"config.network for {name!r}: {error}") from error
