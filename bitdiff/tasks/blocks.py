"""Bit Diffusion block by block: a causal Transformer over blocks, and a denoiser of each block's bits.

p(tokens) = prod_i p(block_i | blocks before it). A causal network turns the tokens of all earlier blocks, and a picture
if there is one, into a context c_i for each position of a block; a small head denoises the bits of a block jointly. The
loss is the mean over blocks of E_t |head(x_t, t, c_i) - x0|^2, or the config's other loss; in training, all blocks are
denoised at once, each at its own time. With one token per block this is an autoregressive model with a diffusion head
(Li et al. 2024, "MAR"). With all tokens in one block, it denoises them all at once as in the paper, but with the head
alone. Sampling caches the keys and values of earlier blocks.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bitdiff.conditions import Condition, Inputs, Request, combine, derive_keys
from bitdiff.conditions.labels import make_labels
from bitdiff.conditions.pictures import make_pictures
from bitdiff.data import Source
from bitdiff.diffusion.sampling import Estimation, follow
from bitdiff.diffusion.training_loss import denoising_loss
from bitdiff.metrics import bit_histograms
from bitdiff.networks import make_block_head, make_network
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import tokens
from bitdiff.tasks.causal_conditions import select_conditions
from bitdiff.tasks.combinations import check_blocks
from bitdiff.tasks.denoiser import (
    Denoiser,
    Layout,
    encode_values,
    error_of_x0,
    evaluate_network,
    make_denoiser,
    network_params,
    with_squared_error,
)
from bitdiff.tasks.options import GUIDANCE, SampleOptions, options_in_use, plan_of
from bitdiff.tasks.task import Task

_UNSUPPORTED = dict.fromkeys((*GUIDANCE, "self_guidance", "frames", "lag"), 0.0) | {"beams": 1, "temperature": 1.0}


class BlockModel(NamedTuple):
    """A causal network, the denoiser of a block, and what they are conditioned on.

    network: tokens -> context, [B, blocks * size] -> [B, blocks * size, D].
    denoiser: Bit Diffusion of `size` tokens; its network is a `BlockHead`.
    length: tokens of a sequence; the last block may reach beyond it.
    size, blocks: tokens per block, and their number.
    vocab_size: tokens below this number.
    pad: the token that fills the last block.
    labels, pictures: conditions, or None.
    """

    network: nn.Module
    denoiser: Denoiser
    length: int
    size: int
    blocks: int
    vocab_size: int
    pad: int
    labels: Condition | None
    pictures: Condition | None


def make_block_task(config: Any, network: nn.Module | None = None) -> Task:
    """Bit Diffusion of token sequences in blocks of config.blocks.size, or of captions if config.encoder is set.

    Raises:
      UsageError: an unknown name, a missing size, or incompatible sections.
    """
    check_blocks(config)
    data, size = config.data, config.blocks.size
    blocks = -(-data.length // size)
    model = BlockModel(
        network=_make_network(config, blocks * size) if network is None else network,
        denoiser=_make_denoiser(config),
        length=data.length,
        size=size,
        blocks=blocks,
        vocab_size=data.vocab_size,
        pad=max(data.pad, 0),
        labels=make_labels(data.num_classes, 0.0) if data.num_classes else None,
        pictures=make_pictures(config) if config.encoder else None,
    )

    def evaluate(outputs, dataset, options):
        return tokens.evaluate(outputs, dataset, options, config, codec=model.denoiser.codec, oracle=False)

    return Task(
        field="tokens",
        init=partial(init_params, model),
        loss=lambda params, batch, keys: (jnp.mean(losses(model, params, batch, keys)[0]), {}),
        sample=partial(sample, model),
        condition=partial(condition_on, model),
        evaluate=evaluate,
        losses=partial(losses, model),
        errors=partial(errors, model),
        passes=model.blocks,
        uses_examples=model.pictures is not None,
    )


def _make_network(config: Any, length: int) -> nn.Module:
    data = config.data
    return make_network(
        config.network,
        out_channels=config.network.dim,
        num_classes=0,
        length=length,
        vocab_size=data.vocab_size + 1 + data.num_classes,  # plus the start tokens: one for no class, one per class
        crosses=bool(config.encoder),
        block=config.blocks.size,
    )


def _make_denoiser(config: Any) -> Denoiser:
    """The denoiser of one block; its conditions are those of the causal network."""
    own = ml_collections.ConfigDict(config.to_dict())
    own.update(encoder={}, network=config.blocks.head)
    own.data.update(length=config.blocks.size, num_classes=0)
    layout = Layout("tokens", (config.blocks.size,), 1)
    codec = make_denoiser(own, layout).codec
    values = codec.vocab_size if config.diffusion.head == "factorised_softmax" else codec.num_bits
    head = make_block_head(config.blocks.head, out_channels=values, length=config.blocks.size)
    return make_denoiser(own, layout, head)


def init_params(model: BlockModel, key: jax.Array) -> Any:
    """Parameters: {'params': the block denoiser's, 'blocks': the causal network's, 'encoder': the image encoder's}."""
    own: dict[str, Any] = {}
    signals = []
    if model.pictures:
        key, own, signal = model.pictures.init(key)
        signals = [signal]
    network_key, head_key = jax.random.split(key)

    def evaluate(module):
        inputs = combine(module, None, signals, 1)
        return module(jnp.zeros((1, model.blocks * model.size), jnp.int32), None, None, None, **inputs.attended)

    context, blocks = nn.init_with_output(evaluate, model.network)(network_key)
    x = jnp.zeros((1, model.size, model.denoiser.width * (2 if model.denoiser.self_cond_rate else 1)))
    head = model.denoiser.network.init(head_key, x, jnp.zeros(1), None, None, context[:, : model.size])
    return {"params": head["params"], "blocks": blocks["params"], **own}


def losses(model: BlockModel, params: Any, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The loss and the time of each block: float32 [blocks * N] each; blocks after the end of a sequence count too."""
    if model.pictures:
        batch, keys = model.pictures.expand(batch, keys)
    derived = derive_keys(keys)
    signals = [c.observe(params, batch, derived) for c in (model.labels, model.pictures) if c]
    values = batch["tokens"]
    rows, beyond = len(values), model.blocks * model.size - model.length
    values = jnp.pad(values, ((0, 0), (0, beyond)), constant_values=model.pad)
    inputs = combine(model.network, _causal_params(params), signals, rows)
    start = _start(model, inputs.label, rows)
    shifted = jnp.concatenate([start, values[:, : -model.size]], axis=1) if model.blocks > 1 else start
    context = model.network.apply(_causal_params(params), shifted, dropout_keys=derived.dropout, **inputs.attended)

    def by_block(array):
        # Not by example: self-conditioning covers every second row, and would always skip the same blocks.
        array = array.reshape(rows, model.blocks, model.size, *array.shape[2:])
        return jnp.moveaxis(array, 1, 0).reshape(-1, model.size, *array.shape[3:])

    def repeated(keys):
        fold = jax.vmap(jax.random.fold_in, (0, None))
        return jax.vmap(fold, (None, 0))(keys, np.arange(model.blocks)).ravel()

    def network(x_t, x0_prev, gamma_t, condition):
        context, dropout_keys = condition
        return _denoise(model, params, x_t, x0_prev, gamma_t, context, dropout_keys)

    denoiser = model.denoiser
    return denoising_loss(
        network,
        encode_values(denoiser, by_block(values)),
        repeated(derived.diffusion),
        (by_block(context), repeated(derived.dropout)),
        gamma=denoiser.gamma,
        objective=denoiser.objective,
        self_cond_rate=denoiser.self_cond_rate,
        clip=denoiser.clip,
        weight=denoiser.weight,
    )


def errors(model: BlockModel, params: Any, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean squared error of the estimate of x0, and gamma_t, of each block: float32 [blocks * N] each."""
    plain = with_squared_error(model.denoiser)
    return error_of_x0(plain, *losses(model._replace(denoiser=plain), params, batch, keys))


def condition_on(
    model: BlockModel, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """The task's `condition`; see `select_conditions`."""
    return select_conditions(Request(np.asarray(indices), labels, examples), model.labels, model.pictures)


def sample(
    model: BlockModel, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Sequences int32 [B, L], one block after another: the task's `sample`; `options.steps` is per block.

    Raises:
      UsageError: an option that the model does not support, or out of range.
    """
    _check_options(options)
    count, denoiser = len(keys), model.denoiser
    plan = plan_of(options, model.size)
    estimation = Estimation("x0", denoiser.clip, denoiser.self_cond_rate > 0, options.momentum)
    estimation = estimation._replace(prediction=denoiser.objective.prediction)
    signals = []
    if model.pictures:
        context = model.pictures.receive(params, arrays, derive_keys(keys))
        signals = [model.pictures.embed(params, context, False)]
    memory = combine(model.network, _causal_params(params), signals, count).attended.get("memory")
    advance: Callable[..., Any] = partial(model.network.apply, _causal_params(params), method="advance")

    def next_block(state, block):
        tokens, cache = state
        context, cache = advance(tokens, block * model.size, cache, memory)

        def denoise(x_t, x0_prev, gamma_t):
            return denoiser.objective.readout(_denoise(model, params, x_t, x0_prev, gamma_t, context))

        own = jax.vmap(jax.random.fold_in, (0, None))(keys, block)
        shape = (count, model.size, denoiser.width)
        x0 = follow(denoise, own, shape, plan, sampler=options.sampler, estimation=estimation).x0
        tokens = denoiser.codec.decode(x0)[..., 0]
        return (tokens, cache), (tokens, x0)

    cache = model.network.apply(_causal_params(params), count, method="empty_cache")
    start = _start(model, arrays.get("label"), count).astype(jnp.int32), cache
    _, (written, analog) = jax.lax.scan(next_block, start, jnp.arange(model.blocks))
    written, analog = (jnp.moveaxis(a, 0, 1).reshape(count, -1, *a.shape[3:]) for a in (written, analog))
    outputs = {name: array for name, array in arrays.items() if name != "image"}
    return outputs | {
        "tokens": written[:, : model.length],
        "invalid": jnp.mean(denoiser.codec.invalid(analog), axis=(1, 2), dtype=jnp.float32),
        "histogram": bit_histograms.histogram(analog, denoiser.codec.scale),
    }


def _denoise(model: BlockModel, params, x_t, x0_prev, gamma_t, context, dropout_keys=None) -> jax.Array:
    inputs = Inputs(None, {"context": context})
    return evaluate_network(model.denoiser, network_params(params), x_t, x0_prev, gamma_t, inputs, dropout_keys)


def _causal_params(params: Any) -> Any:
    return {"params": params["blocks"]}


def _start(model: BlockModel, label: jax.Array | None, count: int) -> jax.Array:
    """The block before the first one, int32 [B, size], which encodes the label or its absence."""
    token = jnp.full((count,), model.vocab_size, jnp.int32) if label is None else model.vocab_size + 1 + label
    return jnp.broadcast_to(token[:, None], (count, model.size))


def _check_options(options: SampleOptions) -> None:
    given = options_in_use(options, _UNSUPPORTED)
    if given:
        raise UsageError(f"{', '.join(given)}: not supported by a model that samples block by block")
