"""Bit Diffusion of integers on any grid: what the image and the token task have in common."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff import bits, diffusion, sampling, schedules
from bitdiff.data import Dataset
from bitdiff.errors import UsageError, choose
from bitdiff.metrics import bits as bit_metrics
from bitdiff.networks import make_network
from bitdiff.tasks import looking
from bitdiff.tasks.task import SampleOptions, Score, Task

_HEADS = ("linear", "factorised_softmax")
_TIME_SCALE = 1000.0  # of what the network's sinusoid is fed, as in the official code

Evaluate = Callable[[dict[str, np.ndarray], Dataset, SampleOptions], dict[str, Score]]


def make_codec(config: Any) -> bits.Codec:
    """The codec of a config's vocabulary and encoding."""
    if config.data.vocab_size < 2:
        raise UsageError(f"config.data.vocab_size is {config.data.vocab_size}; it must be 2 or more")
    choose("encoding (config.bits.encoding)", config.bits.encoding, (*bits.ENCODINGS, "continuous"))
    if config.bits.encoding == "continuous":
        return bits.continuous_codec(config.data.vocab_size, config.bits.scale)
    return bits.make_codec(config.bits.encoding, config.data.vocab_size, config.bits.scale)


def make_objective(config: Any, codec: bits.Codec) -> diffusion.Objective:
    """The objective of a config's prediction, loss and head.

    Raises:
      UsageError: an unknown name, or a combination that means nothing.
    """
    options = config.diffusion
    choose("prediction (config.diffusion.prediction)", options.prediction, diffusion.PREDICTIONS)
    choose("loss (config.diffusion.loss)", options.loss, diffusion.LOSSES)
    choose("head (config.diffusion.head)", options.head, _HEADS)
    if (options.loss != "l2" or options.head != "linear") and options.prediction != "x0":
        raise UsageError(f"the {options.loss} loss with the {options.head} head predicts x0, not {options.prediction}")
    if options.head not in (
        heads := {"l2": _HEADS, "cross_entropy": ("factorised_softmax",)}.get(options.loss, ("linear",))
    ):
        raise UsageError(f"the {options.loss} loss goes with the head {' or '.join(heads)}, not with {options.head}")
    fits = {"logistic": codec.encoding != "continuous", "softmax": codec.encoding == "one_hot"}
    if not fits.get(options.loss, True):
        raise UsageError(f"the {options.loss} loss does not go with the encoding {codec.encoding!r}")
    if options.loss == "logistic":
        return diffusion.logistic(codec.scale)
    if options.loss == "softmax":
        return diffusion.softmax(codec.vocab_size, codec.scale)
    if options.head == "linear":
        return diffusion.l2(options.prediction)
    codes = codec.encode(np.arange(codec.vocab_size)[:, None])
    if options.loss == "cross_entropy":
        return diffusion.cross_entropy(codes, codec.decode)
    return diffusion.l2("x0", diffusion.factorised_softmax(codes))


def bit_scores(outputs: dict[str, np.ndarray], encoding: str) -> dict[str, Score]:
    """What is measured of generated bits whatever they stand for; nothing for the continuous baseline."""
    if encoding == "continuous":
        return {}
    return {
        "invalid_codes": Score(
            float(outputs["invalid"].mean()), "share of codes that name no value and were decoded to the nearest"
        ),
        "sharp_bits": Score(
            bit_metrics.sharpness(outputs["histogram"]), "share of analog bits within 10 % of -scale or +scale"
        ),
    }


def make_bit_task(config: Any, *, field: str, grid: tuple[int, ...], channels: int, evaluate: Evaluate) -> Task:
    """A task over integers [*grid, channels], each below config.data.vocab_size.

    Args:
      config: a resolved config.
      field: the name of the integers in batches and outputs; [B, *grid, channels], or [B, *grid] if
        channels is 1 and the data have no such axis ('tokens').
      grid: (H, W) for images, (L,) for tokens.
      channels: integers per grid position.
      evaluate: the task's `evaluate`.

    Raises:
      UsageError: an unknown name, or a size that is missing or does not fit.
    """
    if min(*grid, channels) < 1 or config.data.num_classes < 0:
        raise UsageError(
            f"the config's data section leaves sizes of {field} open ({grid}, {channels} channels, "
            f"{config.data.num_classes} classes); set them, or fill them by bitdiff.data.resolve"
        )
    options = config.diffusion
    choose("time input (config.diffusion.time_input)", options.time_input, ("gamma", "t"))
    if not 0 <= options.label_dropout < 1:
        raise UsageError(f"config.diffusion.label_dropout is {options.label_dropout}; it must be in [0, 1)")
    codec = make_codec(config)
    objective = make_objective(config, codec)
    num_classes = config.data.num_classes
    gamma = schedules.make_schedule(options.schedule, options.schedule_options)
    width = channels * codec.num_bits
    out_channels = width if options.head == "linear" else channels * codec.vocab_size
    if options.lag < 0 or (options.lag and config.network.name != "transformer"):
        raise UsageError(f"config.diffusion.lag is {options.lag}; it must be 0, or more than 0 with the 'transformer'")
    facts = {}
    if field == "tokens":
        facts = {"length": grid[0], "crosses": bool(config.encoder), "lagged": options.lag > 0}
    network = make_network(config.network, out_channels=out_channels, num_classes=num_classes, **facts)
    look = looking.make_looking(config, network)
    time_of = schedules.inverse(gamma) if options.time_input == "t" else (lambda gamma_t: gamma_t)
    self_cond = options.self_cond_rate > 0
    as_data = (lambda x: x) if field == "image" else (lambda x: x[..., 0])
    as_grid = (lambda x: x) if field == "image" else (lambda x: x[..., None])

    def apply(params, x_t, x0_prev, gamma_t, label, dropout_keys, memory):
        x = jnp.concatenate([x_t, x0_prev], axis=-1) if self_cond else x_t
        seen = {"memory": memory} if memory else {}
        return network.apply(look.own(params), x, time_of(gamma_t) * _TIME_SCALE, label, dropout_keys, **seen)

    def call(params, condition, count):
        zeros = jnp.zeros((count, *grid, width))
        return apply(params, zeros, zeros, jnp.zeros((count,)), condition.get("label"), None, None)

    def init(key):
        x = jnp.zeros((1, *grid, width))
        label = jnp.zeros((1,), jnp.int32) if num_classes else None
        x = jnp.concatenate([x, x], axis=-1) if self_cond else x
        return look.init(key, x, jnp.zeros((1,)), label, None)

    def loss(params, batch, keys):
        batch, keys, memory = look.rows(params, batch, keys)
        x0 = codec.encode(as_grid(batch[field]))
        diffusion_keys, label_keys, dropout_keys = jax.vmap(lambda key: jax.random.split(key, 3))(keys).T
        label = None
        if num_classes:
            hidden = jax.vmap(lambda key: jax.random.bernoulli(key, options.label_dropout))(label_keys)
            label = jnp.where(hidden, -1, batch["label"])

        def denoise(x_t, x0_prev, gamma_t, condition):
            return apply(params, x_t, x0_prev, gamma_t, **condition)

        losses, _ = diffusion.denoising_loss(
            denoise,
            x0,
            diffusion_keys,
            {"label": label, "dropout_keys": dropout_keys, "memory": memory},
            gamma=gamma,
            objective=objective,
            self_cond_rate=options.self_cond_rate,
            clip=codec.scale,
            lag=options.lag,
        )
        return jnp.mean(losses), {}

    def sample(params, condition, keys, how):
        if not 0 <= how.frames <= how.steps:
            raise UsageError(f"frames is {how.frames}; it must be from 0 to the number of steps, {how.steps}")
        if how.beams != 1:
            raise UsageError(f"beams is {how.beams}; only an autoregressive model searches with beams")
        if how.lag > options.lag:
            raise UsageError(f"lag is {how.lag}; the model was trained with config.diffusion.lag={options.lag:g}")
        label = condition.get("label")
        memory = look.remember(params, condition["image"]) if look.sees else None

        def denoiser(label):
            return lambda x_t, x0_prev, gamma_t: objective.readout(
                apply(params, x_t, x0_prev, gamma_t, label, None, memory)
            )

        denoise = denoiser(label)
        if how.guidance != 0:
            if not num_classes or options.label_dropout == 0:
                raise UsageError(
                    f"guidance {how.guidance} needs a class-conditional model that was trained with "
                    "config.diffusion.label_dropout above 0"
                )
            denoise = sampling.guide(denoise, denoiser(jnp.full_like(label, -1)), how.guidance)
        if how.self_guidance != 0:
            if not self_cond:
                raise UsageError(f"self-guidance {how.self_guidance} needs a model trained with self-conditioning")
            denoise = sampling.self_guide(denoise, how.self_guidance, prediction=objective.prediction, clip=codec.scale)
        analog = sampling.sample(
            denoise,
            keys,
            (len(keys), *grid, width),
            gamma=schedules.make_schedule(how.schedule, dict(how.schedule_options)),
            steps=how.steps,
            td=how.td,
            sampler=how.sampler,
            prediction=objective.prediction,
            clip=codec.scale,
            self_cond=self_cond,
            momentum=how.momentum,
            lag=how.lag,
            keep_all=how.frames > 0,
        )
        outputs = {name: array for name, array in condition.items() if name != "image"}
        if how.frames > 0:
            shown = np.linspace(0, how.steps - 1, how.frames).round().astype(int)
            outputs["trajectory"] = jnp.moveaxis(decode(analog[shown]), 0, 1)
            analog = analog[-1]
        outputs[field] = decode(analog)
        outputs["invalid"] = jnp.mean(codec.invalid(analog), axis=tuple(range(1, analog.ndim)), dtype=jnp.float32)
        outputs["histogram"] = bit_metrics.histogram(analog, codec.scale)
        return outputs

    def decode(analog):
        values = as_data(codec.decode(analog))
        return values.astype(jnp.uint8) if field == "image" and codec.vocab_size <= 256 else values

    def condition(indices, labels, images=None):
        if look.sees and labels is not None:
            raise UsageError("labels were given, but the model describes pictures")
        if look.sees:
            return look.take(indices, images)
        if images is not None:
            raise UsageError("pictures were given, but the model describes none")
        return deal(indices, labels)

    def deal(indices, labels):
        if not num_classes:
            if labels is not None:
                raise UsageError("labels were given, but the model is unconditional")
            return {}
        labels = tuple(range(num_classes)) if labels is None else labels
        bad = [label for label in labels if not -1 <= label < num_classes]
        if bad or not labels:
            raise UsageError(f"labels {bad} are not among the {num_classes} classes, 0 to {num_classes - 1} (-1: none)")
        if -1 in labels and options.label_dropout == 0:
            raise UsageError(
                "label -1 (none) needs a model that was trained with config.diffusion.label_dropout above 0"
            )
        return {"label": np.asarray(labels, np.int32)[np.asarray(indices) % len(labels)]}

    return Task(
        init=init,
        loss=loss,
        sample=sample,
        condition=condition,
        evaluate=evaluate,
        start=look.start,
        network=None if look.sees else call,
    )
