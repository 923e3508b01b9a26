"""Bit Diffusion of integers on any grid: what the image and the token task have in common."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff import bits, diffusion, sampling, schedules
from bitdiff.data import Dataset
from bitdiff.errors import UsageError, choose
from bitdiff.networks import make_network
from bitdiff.tasks.task import SampleOptions, Score, Task

_TIME_SCALE = 1000.0  # the network is fed 1000 gamma(t), as the official code does

Evaluate = Callable[[dict[str, np.ndarray], Dataset, SampleOptions], dict[str, Score]]


def make_codec(config: Any) -> bits.Codec:
    """The codec of a config's vocabulary and encoding."""
    if config.data.vocab_size < 2:
        raise UsageError(f"config.data.vocab_size is {config.data.vocab_size}; it must be 2 or more")
    return bits.make_codec(config.bits.encoding, config.data.vocab_size, config.bits.scale)


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
    if min(*grid, channels) < 1:
        raise UsageError(f"the config's data section states no sizes for {field} ({grid}, {channels} channels)")
    options = config.diffusion
    choose("prediction (config.diffusion.prediction)", options.prediction, diffusion.PREDICTIONS)
    if not 0 <= options.label_dropout < 1:
        raise UsageError(f"config.diffusion.label_dropout is {options.label_dropout}; it must be in [0, 1)")
    codec = make_codec(config)
    num_classes = max(config.data.num_classes, 0)
    gamma = schedules.make_schedule(options.schedule, options.schedule_options)
    width = channels * codec.num_bits
    network = make_network(config.network, out_channels=width, num_classes=num_classes)
    self_cond = options.self_cond_rate > 0
    as_data = (lambda x: x) if field == "image" else (lambda x: x[..., 0])
    as_grid = (lambda x: x) if field == "image" else (lambda x: x[..., None])

    def apply(params, x_t, x0_prev, gamma_t, label, dropout_keys):
        x = jnp.concatenate([x_t, x0_prev], axis=-1) if self_cond else x_t
        return network.apply(params, x, gamma_t * _TIME_SCALE, label, dropout_keys)

    def init(key):
        x = jnp.zeros((1, *grid, width))
        label = jnp.zeros((1,), jnp.int32) if num_classes else None
        x = jnp.concatenate([x, x], axis=-1) if self_cond else x
        return network.init(key, x, jnp.zeros((1,)), label, None)

    def loss(params, batch, keys):
        x0 = codec.encode(as_grid(batch[field]))
        diffusion_keys, label_keys, dropout_keys = jax.vmap(lambda key: jax.random.split(key, 3))(keys).T
        label = None
        if num_classes:
            hidden = jax.vmap(lambda key: jax.random.bernoulli(key, options.label_dropout))(label_keys)
            label = jnp.where(hidden, -1, batch["label"])

        def denoise(x_t, x0_prev, gamma_t, condition):
            return apply(params, x_t, x0_prev, gamma_t, condition["label"], condition["dropout_keys"])

        losses, _ = diffusion.denoising_loss(
            denoise,
            x0,
            diffusion_keys,
            {"label": label, "dropout_keys": dropout_keys},
            gamma=gamma,
            prediction=options.prediction,
            self_cond_rate=options.self_cond_rate,
            clip=codec.scale,
        )
        return jnp.mean(losses), {}

    def sample(params, condition, keys, how):
        label = condition.get("label")

        def denoiser(label):
            return lambda x_t, x0_prev, gamma_t: apply(params, x_t, x0_prev, gamma_t, label, None)

        denoise = denoiser(label)
        if how.guidance != 0:
            if not num_classes or options.label_dropout == 0:
                raise UsageError(
                    f"guidance {how.guidance} needs a class-conditional model that was trained with "
                    "config.diffusion.label_dropout above 0"
                )
            denoise = sampling.guide(denoise, denoiser(jnp.full_like(label, -1)), how.guidance)
        analog = sampling.sample(
            denoise,
            keys,
            (len(keys), *grid, width),
            gamma=schedules.make_schedule(how.schedule, dict(how.schedule_options)),
            steps=how.steps,
            td=how.td,
            sampler=how.sampler,
            prediction=options.prediction,
            clip=codec.scale,
            self_cond=self_cond,
            momentum=how.momentum,
        )
        values = as_data(codec.decode(analog))
        values = values.astype(jnp.uint8) if field == "image" and codec.vocab_size <= 256 else values
        invalid = jnp.mean(codec.invalid(analog), axis=tuple(range(1, analog.ndim)), dtype=jnp.float32)
        return {field: values, "invalid": invalid} | condition

    def condition(indices, labels):
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

    return Task(init=init, loss=loss, sample=sample, condition=condition, evaluate=evaluate)
