"""What a task does with the pictures that its sequences describe; both kinds of captioning share it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from bitdiff.errors import UsageError
from bitdiff.networks import make_encoder, vit


class Looking(NamedTuple):
    """How pictures reach a network; without an image encoder nothing does.

    sees: whether there is an encoder.
    init: (key, *inputs of the network) -> parameters: {'params': of the network, 'encoder': of the encoder}.
    own: parameters -> those of the network alone.
    remember: (params, image uint8 [B, H, W, C]) -> what the network's blocks look at.
    rows: (params, batch, keys [B]) -> (batch, keys, memory) with a row for each caption: [B, captions, ...] become
      [B * captions, ...], and a picture is encoded once for all its captions.
    take: (indices, images or None) -> 'image' and 'source', the pictures' numbers.
    start: parameters -> the same with the encoder's published weights, where the config names a file.
    """

    sees: bool
    init: Callable[..., Any]
    own: Callable[[Any], Any]
    remember: Callable[[Any, jax.Array], Any]
    rows: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[dict[str, jax.Array], jax.Array, Any]]
    take: Callable[[np.ndarray, Any], dict[str, np.ndarray]]
    start: Callable[[Any], Any]


def make_looking(config: Any, network: nn.Module) -> Looking:
    """What goes with a config's `encoder` section, which may be empty.

    Raises:
      UsageError: an unknown name or field.
    """
    encoder = make_encoder(config.encoder)
    size, channels = config.data.image_size, config.data.channels
    if encoder is None:
        return Looking(
            sees=False,
            init=network.init,
            own=lambda params: params,
            remember=lambda params, image: None,
            rows=lambda params, batch, keys: (batch, keys, None),
            take=lambda indices, images: {},
            start=lambda params: params,
        )

    def init(key, *inputs: jax.Array):
        encoder_key, network_key = jax.random.split(key)
        context, of_encoder = encoder.init_with_output(encoder_key, np.zeros((1, size, size, channels), np.uint8))

        def whole(module, context, *inputs: jax.Array):
            return module(*inputs, memory=module.remember(context))

        of_network = nn.init(whole, network)(network_key, context, *inputs)
        return {"params": of_network["params"], "encoder": of_encoder["params"]}

    def own(params):
        return {"params": params["params"]}

    def remember(params, image):
        context = encoder.apply({"params": params["encoder"]}, image)
        return network.apply(own(params), context, method="remember")

    def rows(params, batch, keys):
        memory = remember(params, batch["image"])
        captions = batch["tokens"].shape[1]
        memory = jax.tree.map(lambda a: a.repeat(captions, axis=0), memory)
        tokens = batch["tokens"].reshape(-1, batch["tokens"].shape[-1])
        keys = jax.vmap(lambda key: jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(captions)))(keys)
        return {"tokens": tokens}, keys.reshape(-1), memory

    def take(indices, images):
        indices = np.asarray(indices)
        if images is None:
            return {"image": np.zeros((len(indices), size, size, channels), np.uint8), "source": indices * 0}
        source = (indices % len(images)).astype(np.int32)
        return {"image": np.stack([images[int(i)]["image"] for i in source]), "source": source}

    def start(params):
        if not config.encoder.weights:
            return params
        published = vit.load_weights(
            Path(config.encoder.weights).expanduser(), {"params": params["encoder"]}, encoder.head_dim
        )
        return params | {"encoder": published["params"]}

    if min(size, channels) < 1:
        raise UsageError(f"config.data leaves the pictures' sizes open ({size} pixels, {channels} channels)")
    return Looking(True, init, own, remember, rows, take, start)
