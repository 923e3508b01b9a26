"""Diffusion of integers as bits, or of real numbers: what the tasks of images, tokens and points have in common."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff import bits, diffusion, edm, sampling, schedules
from bitdiff.data import Dataset
from bitdiff.errors import UsageError, choose
from bitdiff.metrics import bits as bit_metrics
from bitdiff.networks import make_network
from bitdiff.tasks import looking
from bitdiff.tasks.labels import make_classes
from bitdiff.tasks.latents import make_latents
from bitdiff.tasks.task import SampleOptions, Score, Task

_HEADS = ("linear", "factorised_softmax")
_TIME_SCALE = 1000.0  # of what the network's sinusoid is fed, as in the official code
_OF_EDM = ("x0", "l2", "linear", 0, "gamma")  # prediction, loss, head, lag and time input
_LATENT_KEY = 2**30  # folded into an example's key for its latents; the sampler counts its steps from 0

Evaluate = Callable[[dict[str, np.ndarray], Dataset, SampleOptions], dict[str, Score]]


def make_codec(config: Any) -> bits.Codec:
    """The codec of a config's vocabulary and encoding; points are real numbers already."""
    if config.task == "points":
        return bits.real_codec()
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
    fits = {"logistic": codec.encoding not in ("continuous", "real"), "softmax": codec.encoding == "one_hot"}
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


def make_denoising_task(config: Any, *, field: str, grid: tuple[int, ...], channels: int, evaluate: Evaluate) -> Task:
    """A task over values [*grid, channels]: integers below config.data.vocab_size, or real numbers.

    With config.diffusion.sigma_data the network is EDM's: preconditioned, told ln(sigma) / 4, its loss weighted.
    With config.latents.count it is told latents that an encoder infers from the clean example (DisCo-Diff).

    Args:
      config: a resolved config.
      field: the name of the values in batches and outputs; [B, *grid, channels], or [B, *grid] if
        channels is 1 and the data have no such axis ('tokens').
      grid: (H, W) for images, (L,) for tokens, () for points.
      channels: values per grid position.
      evaluate: the task's `evaluate`.

    Raises:
      UsageError: an unknown name, or a size that is missing or does not fit.
    """
    if min((*grid, channels)) < 1 or config.data.num_classes < 0:
        raise UsageError(
            f"the config's data section leaves sizes of {field} open ({grid}, {channels} channels, "
            f"{config.data.num_classes} classes); set them, or fill them by bitdiff.data.resolve"
        )
    options = config.diffusion
    choose("time input (config.diffusion.time_input)", options.time_input, ("gamma", "t"))
    codec = make_codec(config)
    objective = make_objective(config, codec)
    num_classes = config.data.num_classes
    gamma = schedules.make_schedule(options.schedule, options.schedule_options)
    width = channels * codec.num_bits
    out_channels = width if options.head == "linear" else channels * codec.vocab_size
    if options.lag < 0 or (options.lag and config.network.name != "transformer"):
        raise UsageError(f"config.diffusion.lag is {options.lag}; it must be 0, or more than 0 with the 'transformer'")
    sigma_data = options.sigma_data
    chosen = (objective.prediction, options.loss, options.head, options.lag, options.time_input)
    if sigma_data < 0 or (sigma_data and chosen != _OF_EDM):
        raise UsageError(
            f"config.diffusion.sigma_data is {sigma_data}; it must be 0 or more, and more than 0 goes with prediction "
            "x0, loss l2, head linear, lag 0 and time_input gamma"
        )
    if config.network.name == "mlp" and field != "point":
        raise UsageError(f"config.network.name is 'mlp', which is for points; {field} takes a unet or a transformer")
    if config.latents.count and config.latents.encoder.kind == "vit" and field != "image":
        raise UsageError(f"config.latents.encoder.kind is 'vit', which is for images; {field} takes an 'mlp'")
    if config.latents.groups != 1 and config.network.name != "unet":
        raise UsageError(f"config.latents.groups is {config.latents.groups}; only a 'unet' knows groups, others take 1")
    classes = make_classes(num_classes, options.label_dropout)
    latents = make_latents(config.latents)
    by_memory = config.network.name == "transformer"  # it looks at keys and values that are computed once
    facts = {}
    if field == "tokens":
        facts = {"length": grid[0], "crosses": bool(config.encoder) or latents.count > 0, "lagged": options.lag > 0}
    if config.network.name == "unet":
        facts = {"context_groups": config.latents.groups}
    network = make_network(config.network, out_channels=out_channels, num_classes=num_classes, **facts)
    look = looking.make_looking(config, network)
    if look.sees and latents.count and config.latents.embed.dim != config.encoder.dim:
        raise UsageError(
            f"config.latents.embed.dim is {config.latents.embed.dim} and config.encoder.dim {config.encoder.dim}: a "
            "network that looks at both needs them of one width"
        )
    time_of = schedules.inverse(gamma) if options.time_input == "t" else (lambda gamma_t: gamma_t)
    self_cond = options.self_cond_rate > 0
    has_axis = field != "tokens"
    clip = None if codec.encoding == "real" or (sigma_data and codec.encoding == "continuous") else codec.scale

    def own(params):
        return {"params": params["params"]}

    def apply(params, x_t, x0_prev, gamma_t, label, dropout_keys, told):
        def raw(x, time):
            x = jnp.concatenate([x, x0_prev], axis=-1) if self_cond else x
            return network.apply(own(params), x, time, label, dropout_keys, **told)

        if sigma_data:
            return edm.precondition(raw, x_t, gamma_t, sigma_data)
        return raw(x_t, time_of(gamma_t) * _TIME_SCALE)

    def tell(params, memory, z, hidden):
        """The network's further arguments: what it looks at, of a picture, of latents, or of both."""
        if not latents.count:
            return {"memory": memory} if memory else {}
        context = latents.context(params["latents"], z, hidden)
        if not by_memory:
            return {"context": context}
        parts = network.apply(own(params), context, method="remember")
        if memory:
            parts = jax.tree.map(lambda a, b: jnp.concatenate([a, b.astype(a.dtype)], axis=1), memory, parts)
        return {"memory": parts}

    def clean(values):
        return codec.encode(values if has_axis else values[..., None])

    def seen_by_encoder(values):
        return values * (2.0 / (codec.vocab_size - 1)) - 1.0 if field == "image" else clean(values) / codec.scale

    def call(params, condition, count):
        zeros = jnp.zeros((count, *grid, width))
        told = tell(params, None, jnp.zeros((count, latents.count), jnp.int32), jnp.ones(count, bool))
        return apply(params, zeros, zeros, jnp.full((count,), 0.5), condition.get("label"), None, told)

    def init(key):
        x = jnp.zeros((1, *grid, width))
        label = jnp.zeros((1,), jnp.int32) if num_classes else None
        inputs = (jnp.concatenate([x, x], axis=-1) if self_cond else x, jnp.zeros((1,)), label, None)
        if not latents.count:
            return look.init(key, *inputs)
        network_key, latent_key = jax.random.split(key)
        values = jnp.zeros((1, *grid, channels) if has_axis else (1, *grid), jnp.float32 if field == "point" else int)
        of_latents = latents.init(latent_key, seen_by_encoder(values))
        if look.sees:
            return look.init(network_key, *inputs) | {"latents": of_latents}
        context = jnp.zeros((1, latents.count, config.latents.embed.dim))

        def whole(module, context, *inputs: jax.Array | None):
            told = {"memory": module.remember(context)} if by_memory else {"context": context}
            return module(*inputs, **told)

        return nn.init(whole, network)(network_key, context, *inputs) | {"latents": of_latents}

    def loss(params, batch, keys):
        return jnp.mean(losses(params, batch, keys)[0]), {}

    def losses(params, batch, keys):
        batch, keys, memory = look.rows(params, batch, keys)
        x0 = clean(batch[field])
        diffusion_keys, label_keys, dropout_keys = jax.vmap(lambda key: jax.random.split(key, 3))(keys).T
        label = classes.hide(batch["label"], label_keys) if num_classes else None
        z = hidden = None
        if latents.count:
            drawn, hiding = jax.vmap(lambda key: jax.random.split(jax.random.fold_in(key, _LATENT_KEY)))(keys).T
            z, hidden = latents.relaxed(params["latents"], seen_by_encoder(batch[field]), drawn), latents.hide(hiding)

        def denoise(x_t, x0_prev, gamma_t, condition):
            return apply(params, x_t, x0_prev, gamma_t, **condition)

        return diffusion.denoising_loss(
            denoise,
            x0,
            diffusion_keys,
            {"label": label, "dropout_keys": dropout_keys, "told": tell(params, memory, z, hidden)},
            gamma=gamma,
            objective=objective,
            self_cond_rate=options.self_cond_rate,
            clip=clip,
            lag=options.lag,
            weight=(lambda gamma_t: edm.loss_weight(gamma_t, sigma_data)) if sigma_data else None,
        )

    def infer(params, values, keys):
        return latents.drawn(params["latents"], seen_by_encoder(values), keys)

    def sample(params, condition, keys, how):
        if how.frames and not 0 < how.frames <= how.steps:
            raise UsageError(f"frames is {how.frames}; it must be from 0 to the number of steps, {how.steps}")
        if how.beams != 1:
            raise UsageError(f"beams is {how.beams}; only an autoregressive model searches with beams")
        if how.lag > options.lag:
            raise UsageError(f"lag is {how.lag}; the model was trained with config.diffusion.lag={options.lag:g}")
        label = condition.get("label")
        memory = look.remember(params, condition["image"]) if look.sees else None
        everyone = jnp.ones(len(keys), bool)
        z = None
        if "example" in condition:
            latent_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, _LATENT_KEY)
            z = infer(params, condition["example"], latent_keys)
        elif latents.count:
            z = condition.get("latents", jnp.full((len(keys), latents.count), -1, jnp.int32))

        def denoiser(label, hidden):
            told = tell(params, memory, z, hidden)

            def denoise(x_t, x0_prev, gamma_t):
                return objective.readout(apply(params, x_t, x0_prev, gamma_t, label, None, told))

            return denoise

        hidden = z[:, 0] < 0 if latents.count else everyone
        denoise = denoiser(label, hidden)
        if how.guidance != 0:
            if not num_classes or options.label_dropout == 0:
                raise UsageError(
                    f"guidance {how.guidance} needs a class-conditional model that was trained with "
                    "config.diffusion.label_dropout above 0"
                )
            denoise = sampling.guide(denoise, denoiser(jnp.full_like(label, -1), hidden), how.guidance)
        if how.latent_guidance != 0:
            if not latents.count or config.latents.dropout == 0:
                raise UsageError(
                    f"latent_guidance {how.latent_guidance} needs a model with latents that was trained with "
                    "config.latents.dropout above 0"
                )
            denoise = sampling.guide(denoise, denoiser(label, everyone), how.latent_guidance)
        if how.self_guidance != 0:
            if not self_cond:
                raise UsageError(f"self-guidance {how.self_guidance} needs a model trained with self-conditioning")
            denoise = sampling.self_guide(denoise, how.self_guidance, prediction=objective.prediction, clip=clip)
        if "known" in condition:
            if objective.prediction != "x0":
                raise UsageError(f"what is known is kept by a model that predicts x0, not {objective.prediction}")
            noise_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, _LATENT_KEY)
            known = condition["known"]
            mask = jnp.repeat(known >= 0 if has_axis else (known >= 0)[..., None], codec.num_bits, axis=-1)
            denoise = sampling.infill(denoise, clean(jnp.maximum(known, 0)), mask, noise_keys)
        analog = sampling.sample(
            denoise,
            keys,
            (len(keys), *grid, width),
            gamma=schedules.make_schedule(how.schedule, dict(how.schedule_options)),
            steps=how.steps,
            td=how.td,
            sampler=how.sampler,
            prediction=objective.prediction,
            clip=clip,
            self_cond=self_cond,
            momentum=how.momentum,
            lag=how.lag,
            endpoint=how.endpoint,
            churn=how.churn,
            restarts=how.restarts,
            noise_scale=how.noise_scale,
            keep_all=how.frames > 0,
        )
        outputs = {name: array for name, array in condition.items() if name not in ("image", "example", "known")}
        if latents.count:
            outputs["latents"] = z
        if how.frames > 0:
            path = analog
            shown = np.linspace(0, len(path.x0) - 1, how.frames).round().astype(int)
            outputs["trajectory"] = jnp.moveaxis(decode(path.x0[shown]), 0, 1)
            if field == "point":
                outputs["path"] = jnp.moveaxis(path.x_t[shown], 0, 1)
            analog = path.x0[-1]
        outputs[field] = decode(analog)
        outputs["invalid"] = jnp.mean(codec.invalid(analog), axis=tuple(range(1, analog.ndim)), dtype=jnp.float32)
        if codec.encoding != "real":
            outputs["histogram"] = bit_metrics.histogram(analog, codec.scale)
        return outputs

    def decode(analog):
        values = codec.decode(analog) if has_axis else codec.decode(analog)[..., 0]
        return values.astype(jnp.uint8) if field == "image" and codec.vocab_size <= 256 else values

    def condition(indices, labels, images=None):
        if look.sees:
            if labels is not None:
                raise UsageError("labels were given, but the model describes pictures")
            taken = look.take(indices, images)
        elif images is not None and not latents.count:
            raise UsageError("examples were given, but the model neither describes pictures nor infers latents")
        elif images is None or labels is not None or not num_classes:
            taken = classes.deal(indices, labels)
        else:
            taken = {}  # the examples' own labels
        if images is None or not latents.count or field not in images[0]:
            return taken
        source = (np.asarray(indices) % len(images)).astype(np.int32)
        examples = [images[int(i)] for i in source]
        values = [example[field] for example in examples]
        if look.sees:
            values = [captions[0] for captions in values]
        elif num_classes and labels is None:
            known = [example.get("label", -1) for example in examples]
            if -1 in known and options.label_dropout == 0:
                raise UsageError("the examples have no labels, which this class-conditional model needs")
            taken["label"] = np.asarray(known, np.int32)
        return taken | {"example": np.stack(values), "source": source}

    return Task(
        field=field,
        init=init,
        loss=loss,
        losses=losses,
        sample=sample,
        condition=condition,
        evaluate=evaluate,
        start=look.start,
        network=None if look.sees else call,
        told_by_examples=look.sees or latents.count > 0,
        infer=infer if latents.count else None,
    )
