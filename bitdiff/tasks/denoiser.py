"""The denoiser of a task: a network, a codec, an objective and conditions, assembled from a config."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.conditions import Condition, Inputs, Signal, combine, init_conditions
from bitdiff.conditions.known import make_known
from bitdiff.conditions.labels import make_labels
from bitdiff.conditions.latents import Inference, make_latents
from bitdiff.conditions.pictures import make_pictures
from bitdiff.diffusion import edm, objectives
from bitdiff.diffusion.bits import Codec
from bitdiff.diffusion.corruption import error_factor
from bitdiff.diffusion.objectives import Objective
from bitdiff.diffusion.schedules import Schedule, inverse, make_schedule
from bitdiff.networks import make_network
from bitdiff.tasks.combinations import check_denoising
from bitdiff.tasks.parts import make_codec, make_objective, make_residual, make_weight

_TIME_SCALE = 1000.0  # the network's sinusoid gets 1000 gamma, or 1000 t, as in the official code


class Layout(NamedTuple):
    """The values of an example, [*grid, channels]; [*grid] in the data if there is no channel axis.

    field: their name in batches and outputs.
    grid: (H, W) for images, (L,) for tokens, () for points.
    channels: values per grid position.
    """

    field: str
    grid: tuple[int, ...]
    channels: int

    @property
    def has_channels(self) -> bool:
        """Whether the data have a channel axis."""
        return self.field != "tokens"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an example in the data."""
        return (*self.grid, self.channels) if self.has_channels else self.grid


class Denoiser(NamedTuple):
    """Everything a denoising task is made of.

    conditions: in the order in which guidance applies them.
    num_classes: number of classes of the label; 0 for none.
    gamma: the training schedule.
    time_of: gamma_t -> the network's time input; unused with EDM's preconditioning.
    self_cond_rate, lag: see `training_loss.denoising_loss`.
    sigma_data: standard deviation of the data for EDM's preconditioning and loss weight; 0 for none.
    clip: bound on the estimate of x0, or None.
    trained_guidance: the largest weight of guidance by self-conditioning that was trained in; 0 for none.
    residual: (x_t, gamma_t) -> what is added to the network's output, or None.
    weight: gamma_t -> the weights of the loss, of the same shape, or None for 1.
    """

    layout: Layout
    network: nn.Module
    codec: Codec
    objective: Objective
    conditions: tuple[Condition, ...]
    num_classes: int
    gamma: Schedule
    time_of: Callable[[jax.Array], jax.Array]
    self_cond_rate: float
    lag: float
    sigma_data: float
    clip: float | None
    trained_guidance: float = 0.0
    residual: Callable[[jax.Array, jax.Array], jax.Array] | None = None
    weight: Callable[[jax.Array], jax.Array] | None = None

    @property
    def width(self) -> int:
        """Analog bits per grid position."""
        return self.layout.channels * self.codec.num_bits


def make_denoiser(
    config: Any, layout: Layout, network: nn.Module | None = None, conditions: Sequence[Condition] = ()
) -> Denoiser:
    """The denoiser that a config describes.

    Args:
      config: a resolved config.
      layout: the values it generates.
      network: a linen module in place of the config's; see `make_task`.
      conditions: conditions besides those that the config describes.

    Raises:
      UsageError: an unknown name, a missing size, or incompatible sections.
    """
    check_denoising(config, *layout, custom_network=network is not None)
    options = config.diffusion
    codec = make_codec(config)
    gamma = make_schedule(options.schedule, options.schedule_options)
    unclipped = codec.encoding == "real" or (options.sigma_data and codec.encoding == "continuous")
    return Denoiser(
        layout=layout,
        network=_make_own_network(config, layout, codec, conditions) if network is None else network,
        codec=codec,
        objective=make_objective(options, codec),
        conditions=(*make_conditions(config, layout, codec), *conditions),
        num_classes=config.data.num_classes,
        gamma=gamma,
        time_of=inverse(gamma) if options.time_input == "t" else (lambda gamma_t: gamma_t),
        self_cond_rate=options.self_cond_rate,
        lag=options.lag,
        sigma_data=options.sigma_data,
        clip=None if unclipped else codec.scale,
        trained_guidance=options.trained_guidance,
        residual=make_residual(options, codec),
        weight=make_weight(options, codec),
    )


def with_squared_error(model: Denoiser) -> Denoiser:
    """The model with the unweighted squared error of its prediction as its loss, and no lag."""
    objective = objectives.l2(model.objective.prediction, model.objective.readout)
    return model._replace(objective=objective, weight=None, lag=0.0)


def error_of_x0(model: Denoiser, error: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(the squared error of the estimate of x0, gamma_t), given that of the prediction at the times t; [N] each."""
    gamma_t = jnp.clip(model.gamma(t), 1e-6, 1.0 - 1e-6)
    return error * error_factor(model.objective.prediction, gamma_t), gamma_t


def init_params(model: Denoiser, key: jax.Array) -> Any:
    """Parameters: {'params': the network's, and an entry for each condition that has its own}."""
    key, own, signals = init_conditions(model.conditions, key)
    x = jnp.zeros((1, *model.layout.grid, model.width))
    x = jnp.concatenate([x, x], axis=-1) if model.self_cond_rate else x

    def evaluate(module):
        inputs = join(model, None, signals, 1, module=module)
        return module(x, jnp.zeros(1), inputs.label, None, **inputs.attended)

    return {**nn.init(evaluate, model.network)(key), **own}


def network_params(params: Any) -> Any:
    """The network's own variables among the parameters of a task."""
    return {"params": params["params"]}


def join(
    model: Denoiser,
    params: Any,
    signals: Sequence[Signal],
    rows: int,
    *,
    weight: jax.Array | float = 1.0,
    module: nn.Module | None = None,
) -> Inputs:
    """The network's conditioning arguments.

    Args:
      model: the denoiser.
      params: its parameters; None if a bound module is given.
      signals: those of all conditions.
      rows: B.
      weight: the weight of guidance by self-conditioning, a number or [B], which the network receives as ln w if it was
        trained to.
      module: the bound network.
    """
    if model.trained_guidance:
        signals = [*signals, Signal(features=jnp.broadcast_to(jnp.log(weight), (rows,))[:, None])]
    network, own = (module, None) if module else (model.network, network_params(params))
    return combine(network, own, signals, rows, num_classes=model.num_classes)


def evaluate_network(
    model: Denoiser,
    params: Any,
    x_t: jax.Array,
    x0_prev: jax.Array,
    gamma_t: jax.Array,
    inputs: Inputs,
    dropout_keys: jax.Array | None = None,
) -> jax.Array:
    """One network evaluation, with EDM's preconditioning if sigma_data is set: [B, *grid, output channels]."""

    def raw(x, time) -> jax.Array:
        x = jnp.concatenate([x, x0_prev], axis=-1) if model.self_cond_rate else x
        arguments = (x, time, inputs.label, dropout_keys)
        return jnp.asarray(model.network.apply(network_params(params), *arguments, **inputs.attended))

    if model.sigma_data:
        return edm.precondition(raw, x_t, gamma_t, model.sigma_data)
    output = raw(x_t, model.time_of(gamma_t) * _TIME_SCALE)
    return output if model.residual is None else output + model.residual(x_t, gamma_t)


def encode_values(model: Denoiser, values: jax.Array) -> jax.Array:
    """The data's values [B, ...] -> x0 float32 [B, *grid, width]."""
    return model.codec.encode(values if model.layout.has_channels else values[..., None])


def decode_values(model: Denoiser, analog: jax.Array) -> jax.Array:
    """The inverse of `encode_values`; images of up to 256 levels become uint8."""
    values = model.codec.decode(analog)
    if not model.layout.has_channels:
        return values[..., 0]
    return values.astype(jnp.uint8) if model.layout.field == "image" and model.codec.vocab_size <= 256 else values


def _make_own_network(config: Any, layout: Layout, codec: Codec, conditions: Sequence[Condition]) -> nn.Module:
    values = codec.vocab_size if config.diffusion.head == "factorised_softmax" else codec.num_bits
    return make_denoising_network(config, layout, values, conditions)


def make_denoising_network(config: Any, layout: Layout, values: int, conditions: Sequence[Condition]) -> nn.Module:
    """The network that a config describes, with `values` outputs per channel of a grid position."""
    facts: dict[str, Any] = {}
    if config.network.name == "unet":
        facts = {"context_groups": config.latents.groups}
    if config.network.name == "transformer" and layout.field == "tokens":
        attends = any(_attends(condition) for condition in conditions)
        crosses = bool(config.encoder) or (config.latents.count > 0 and not _latent_features(config)) or attends
        facts = {"length": layout.grid[0], "crosses": crosses, "lagged": config.diffusion.lag > 0}
    classes = config.data.num_classes + _features(config)
    return make_network(config.network, out_channels=layout.channels * values, num_classes=classes, **facts)


def _features(config: Any) -> int:
    """The number of features that the network receives beside the class label."""
    return _latent_features(config) + (1 if config.diffusion.trained_guidance else 0)


def _latent_features(config: Any) -> int:
    return config.latents.count * config.latents.codes if config.latents.route == "modulation" else 0


def _attends(condition: Condition) -> bool:
    """Whether the network attends to vectors from the condition."""
    _, _, signal = jax.eval_shape(condition.init, jax.random.key(0))
    return signal.context is not None


def make_conditions(config: Any, layout: Layout, codec: Codec) -> tuple[Condition, ...]:
    """The conditions that a config describes, in the order in which guidance applies them."""
    conditions = []
    if config.data.num_classes:
        conditions.append(make_labels(config.data.num_classes, config.diffusion.label_dropout))
    if config.encoder:
        conditions.append(make_pictures(config))
    if config.latents.count:
        one_hot = config.latents.encoder.kind == "bag"
        conditions.append(make_latents(config.latents, layout.field, _inference(layout, codec, one_hot)))
    if codec.encoding != "real":
        known = make_known(
            codec,
            layout.shape,
            has_channels=layout.has_channels,
            prediction=config.diffusion.prediction,
            per_position=config.diffusion.lag > 0,
        )
        conditions.append(known)
    return tuple(conditions)


def _inference(layout: Layout, codec: Codec, one_hot: bool) -> Inference:
    def prepare(values):
        if one_hot:
            return jax.nn.one_hot(values, codec.vocab_size)
        if layout.field == "image":
            return values * (2.0 / (codec.vocab_size - 1)) - 1.0
        return codec.encode(values if layout.has_channels else values[..., None]) / codec.scale

    dtype = jnp.float32 if layout.field == "point" else jnp.int32
    return Inference(prepare, jnp.zeros((1, *layout.shape), dtype))
