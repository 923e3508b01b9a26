"""Pictures that sequences describe: an image encoder whose output the network attends to."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.conditions.condition import Condition, Request, Signal
from bitdiff.networks import make_encoder
from bitdiff.runtime.errors import UsageError


def make_pictures(config: Any) -> Condition:
    """Pictures encoded by the network of a config's `encoder` section; the context of a dropped picture is zero.

    Pictures dropped in training at the rate p allow guidance as for class labels (Ho and Salimans 2021): in sampling,
    the estimate is (1 + w) D(x_t, picture) - w D(x_t, 0), with w the option `image_guidance`.

    Raises:
      UsageError: an unknown name or field, or the config does not state the pictures' size.
    """
    encoder = make_encoder(config.encoder)
    assert encoder is not None
    size, channels, dropout = config.data.image_size, config.data.channels, config.diffusion.image_dropout
    if min(size, channels) < 1:
        raise UsageError(
            f"config.data.image_size is {size} and config.data.channels {channels}; both must be 1 or more"
        )

    def init(key):
        encoder_key, rest = jax.random.split(key)
        context, params = encoder.init_with_output(encoder_key, np.zeros((1, size, size, channels), np.uint8))
        return rest, {"encoder": params["params"]}, Signal(context=context)

    def encode(params, image) -> jax.Array:
        return jnp.asarray(encoder.apply({"params": params["encoder"]}, image))

    def observe(params, batch, keys):
        context = encode(params, batch["image"])
        if dropout:
            per_picture = keys.pictures[:: len(keys.pictures) // len(context)]
            dropped = jax.vmap(lambda key: jax.random.bernoulli(key, dropout))(per_picture)
            context = jnp.where(dropped[:, None, None], 0.0, context)
        return Signal(context=context)

    def embed(params, value, null):
        return Signal(context=jnp.zeros_like(value) if null else value)

    return Condition(
        name="pictures",
        takes=("image",),
        dropout=dropout,
        dropout_field="config.diffusion.image_dropout",
        guidance_option="image_guidance",
        init=init,
        select=lambda request: _select(request, (size, size, channels)),
        observe=observe,
        receive=lambda params, arrays, keys: encode(params, arrays["image"]),
        embed=embed,
        expand=flatten_captions,
        uses_examples=True,
    )


def flatten_captions(batch: dict[str, jax.Array], keys: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    """One row for each caption: tokens [B, captions, L] -> [B * captions, L], with a key for each row.

    The pictures stay [B, ...]: each is encoded once for all its captions. All other arrays are repeated.
    """
    tokens = batch["tokens"]
    captions = tokens.shape[1]
    keys = jax.vmap(lambda key: jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(captions)))(keys)
    repeated = {name: a.repeat(captions, axis=0) for name, a in batch.items() if name not in ("image", "tokens")}
    repeated |= {"image": batch["image"], "tokens": tokens.reshape(-1, tokens.shape[-1])}
    return repeated, keys.reshape(-1)


def _select(request: Request, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """'image' uint8 [B, H, W, C] and 'source' int32 [B], the pictures' indices; blank pictures without examples."""
    if not request.offers("image"):
        count = len(request.indices)
        return {"image": np.zeros((count, *shape), np.uint8), "source": np.zeros(count, np.int32)}
    return {"image": np.stack([row["image"] for row in request.rows]), "source": request.source}
