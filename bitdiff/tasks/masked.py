"""Masked diffusion (MD4, Shi et al. 2024) of images, tokens or captions, with the same networks as Bit Diffusion.

The network receives the codes of the unmasked values, with zeros in place of masked ones, and a mask indicator for each
value; it outputs logits over the vocabulary. The codes are those of config.bits: with 'one_hot', the first layer learns
an embedding of the values.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.conditions import Condition, Keys, Signal, combine, derive_keys, init_conditions
from bitdiff.data import Source
from bitdiff.diffusion import masking
from bitdiff.diffusion.bits import Codec
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks import tokens
from bitdiff.tasks.combinations import check_masked
from bitdiff.tasks.denoiser import Layout, make_conditions, make_denoising_network, network_params
from bitdiff.tasks.denoising import select
from bitdiff.tasks.image_scores import image_scores
from bitdiff.tasks.options import DIFFUSION_OPTIONS, GUIDANCE, SampleOptions, options_in_use, shown_steps
from bitdiff.tasks.parts import make_codec
from bitdiff.tasks.task import Task

_TIME_SCALE = 1000.0  # the sinusoidal time embedding receives 1000 alpha_t
_UNSUPPORTED = {name: value for name, value in DIFFUSION_OPTIONS.items() if name != "frames"}
_UNSUPPORTED |= {"latent_guidance": 0.0, "beams": 1}


class MaskedModel(NamedTuple):
    """A network, the codes of its input, and what it is conditioned on.

    num_classes: number of classes of the label; 0 for none.
    """

    layout: Layout
    network: nn.Module
    codec: Codec
    conditions: tuple[Condition, ...]
    num_classes: int

    @property
    def width(self) -> int:
        """Input channels per grid position: the bits and the mask indicator of each value."""
        return self.layout.channels * (self.codec.num_bits + 1)


def make_masked_task(config: Any, network: nn.Module | None = None) -> Task:
    """Masked diffusion of token sequences if config.data.length is set, and otherwise of images.

    Raises:
      UsageError: an unknown name, a missing size, or fields that masked diffusion would ignore.
    """
    data = config.data
    if data.length and data.image_size and not config.encoder:
        raise UsageError(
            f"config.data has length {data.length} and image_size {data.image_size}; one of them must be 0, since a "
            "model without an encoder generates either tokens or images"
        )
    layout = Layout("tokens", (data.length,), 1)
    if not data.length:
        layout = Layout("image", (data.image_size, data.image_size), data.channels)
    check_masked(config, *layout, custom_network=network is not None)
    codec = make_codec(config)
    if network is None:
        network = make_denoising_network(config, layout, codec.vocab_size, ())
    model = MaskedModel(layout, network, codec, make_conditions(config, layout, codec), data.num_classes)

    def evaluate(outputs, dataset, options):
        if layout.field == "image":
            return image_scores(outputs, dataset)
        return tokens.evaluate(outputs, dataset, options, config)

    return Task(
        field=layout.field,
        init=partial(init_params, model),
        loss=lambda params, batch, keys: (jnp.mean(losses(model, params, batch, keys)[0]), {}),
        losses=partial(losses, model),
        bound=partial(bound, model),
        sample=partial(sample, model),
        condition=partial(condition_on, model),
        evaluate=evaluate,
        network=None if any(c.uses_examples for c in model.conditions) else partial(single_evaluation, model),
        uses_examples=any(condition.uses_examples for condition in model.conditions),
    )


def init_params(model: MaskedModel, key: jax.Array) -> Any:
    """Parameters: {'params': the network's, and an entry for each condition that has its own}."""
    key, own, signals = init_conditions(model.conditions, key)
    x = jnp.zeros((1, *model.layout.grid, model.width))

    def evaluate(module):
        inputs = combine(module, None, signals, 1)
        return module(x, jnp.zeros(1), inputs.label, None, **inputs.attended)

    return {**nn.init(evaluate, model.network)(key), **own}


def losses(
    model: MaskedModel, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """A single-time estimate of the bound of each example in nats per value, and the time: float32 [N] each."""
    batch, keys = _expand(model, batch, keys)
    derived = derive_keys(keys)
    t = masking.draw_times(derived.diffusion)
    signals = [condition.observe(params, batch, derived) for condition in model.conditions]
    nats, values = _bound(model, params, batch, derived, t, signals, derived.dropout)
    return nats / values, t


def bound(model: MaskedModel, params: Any, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The task's `bound`: an estimate of an upper bound on -log p(x0), and the number of values."""
    batch, keys = _expand(model, batch, keys)
    derived = derive_keys(keys)
    signals = [c.embed(params, c.receive(params, batch, derived), False) for c in model.conditions]
    nats, values = _bound(model, params, batch, derived, masking.stratified_times(derived.diffusion), signals)
    return nats, jnp.full(len(nats), float(values))


def _expand(model: MaskedModel, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    for condition in model.conditions:
        batch, keys = condition.expand(batch, keys)
    return batch, keys


def _bound(
    model: MaskedModel,
    params: Any,
    batch: dict[str, jax.Array],
    derived: Keys,
    t: jax.Array,
    signals: Sequence[Signal],
    dropout_keys: jax.Array | None = None,
) -> tuple[jax.Array, int]:
    """The bound [N] in nats at times t [N], and the number of values of an example."""
    x0 = _with_channels(model, batch[model.layout.field]).astype(jnp.int32)
    predict = _predictor(model, params, signals, len(x0), dropout_keys)
    # New keys, since the times were drawn from derived.diffusion.
    mask_keys = jax.vmap(jax.random.fold_in, (0, None))(derived.diffusion, 1)
    return masking.bound(predict, x0, t, mask_keys), x0[0].size


def _predictor(
    model: MaskedModel, params: Any, signals: Sequence[Signal], rows: int, dropout_keys: jax.Array | None = None
) -> masking.Predict:
    """(x_t int [B, *grid, channels], alpha_t [B]) -> logits [B, *grid, channels, vocabulary]."""
    inputs = combine(model.network, network_params(params), signals, rows, num_classes=model.num_classes)

    def predict(x_t, alpha_t):
        bits = model.codec.encode(jnp.maximum(x_t, 0))
        masks = x_t == masking.MASK
        bits = jnp.where(jnp.repeat(masks, model.codec.num_bits, axis=-1), 0.0, bits)
        x = jnp.concatenate([bits, masks.astype(bits.dtype)], axis=-1)
        arguments = (x, alpha_t * _TIME_SCALE, inputs.label, dropout_keys)
        logits = jnp.asarray(model.network.apply(network_params(params), *arguments, **inputs.attended))
        return logits.reshape(*x_t.shape, model.codec.vocab_size)

    return predict


def condition_on(
    model: MaskedModel, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """The task's `condition`; see `denoising.select`."""
    return select(model.conditions, indices, labels, examples)


def sample(
    model: MaskedModel, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples conditioned on the arrays from `condition_on`: the task's `sample`.

    Raises:
      UsageError: an option that the model does not support, or one that is out of range.
    """
    _check_options(model, options)
    derived, count = derive_keys(keys), len(keys)
    values = [condition.receive(params, arrays, derived) for condition in model.conditions]

    def predictor(dropped: Condition | None) -> masking.Predict:
        embedded = zip(model.conditions, values, strict=True)
        signals = [condition.embed(params, value, condition is dropped) for condition, value in embedded]
        return _predictor(model, params, signals, count)

    predict = predictor(None)
    for condition in model.conditions:
        weight = getattr(options, condition.guidance_option) if condition.guidance_option else 0.0
        if weight:
            predict = _guided(predict, predictor(condition), weight)
    start = jnp.full((count, *model.layout.grid, model.layout.channels), masking.MASK)
    if "known" in arrays:
        start = _with_channels(model, arrays["known"])
    samples, trajectory = masking.sample(
        predict,
        start,
        keys,
        steps=options.steps,
        sampler=options.sampler,
        temperature=options.temperature,
        keep_trajectory=options.frames > 0,
    )
    outputs = {"source": arrays["source"]} if "source" in arrays else {}
    for condition, value in zip(model.conditions, values, strict=True):
        outputs |= condition.outputs(value)
    if trajectory is not None:
        shown = shown_steps(options.steps, options.frames)
        outputs["trajectory"] = jnp.moveaxis(_as_outputs(model, trajectory[shown]), 0, 1)
    return outputs | {model.layout.field: _as_outputs(model, samples), "invalid": jnp.zeros(count)}


def _as_outputs(model: MaskedModel, values: jax.Array) -> jax.Array:
    """Values without the axis of channels that tokens lack; uint8 for images of at most 256 levels."""
    if not model.layout.has_channels:
        return values[..., 0]
    return values.astype(jnp.uint8) if model.codec.vocab_size <= 256 else values


def _guided(predict: masking.Predict, without: masking.Predict, weight: float) -> masking.Predict:
    """log p(x | c) + w (log p(x | c) - log p(x)), up to normalization."""

    def guided(x_t, alpha_t):
        logits, others = (jax.nn.log_softmax(one(x_t, alpha_t)) for one in (predict, without))
        return logits + weight * (logits - others)

    return guided


def single_evaluation(model: MaskedModel, params: Any, condition: dict[str, jax.Array], count: int) -> jax.Array:
    """One network evaluation on fully masked inputs for `count` examples."""
    keys = derive_keys(jax.random.split(jax.random.key(0), count))
    arrays = {name: array for name, array in condition.items() if name == "label"}
    signals = [c.embed(params, c.receive(params, arrays, keys), False) for c in model.conditions]
    masks = jnp.full((count, *model.layout.grid, model.layout.channels), masking.MASK)
    return _predictor(model, params, signals, count)(masks, jnp.zeros(count))


def _with_channels(model: MaskedModel, values: jax.Array) -> jax.Array:
    return values if model.layout.has_channels else values[..., None]


def _check_options(model: MaskedModel, options: SampleOptions) -> None:
    choose("sampler of masked diffusion (config.sample.sampler)", options.sampler, masking.SAMPLERS)
    if options.steps < 1:
        raise UsageError(f"steps is {options.steps}; masked diffusion requires at least 1 step")
    given = options_in_use(options, _UNSUPPORTED)
    if given:
        raise UsageError(f"{', '.join(given)}: not supported by masked diffusion")
    if options.temperature != 1.0 and options.sampler != "confidence":
        raise UsageError(
            f"temperature is {options.temperature:g}, but the sampler {options.sampler} ignores it; use the confidence "
            "sampler, or leave it at 1"
        )
    conditions = {condition.guidance_option: condition for condition in model.conditions}
    for option, name in GUIDANCE.items():
        weight = getattr(options, option)
        if weight and (option not in conditions or not conditions[option].dropout):
            raise UsageError(f"{option} is {weight}; it requires a model trained with dropout of {name}")
