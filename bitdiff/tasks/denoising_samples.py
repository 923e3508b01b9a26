"""How a denoising task samples: guidance by its conditions, the sampling loop, and the outputs."""

from typing import Any

import jax
import jax.numpy as jnp

from bitdiff.conditions import Condition, derive_keys
from bitdiff.diffusion.guidance import Denoise, guide, self_guide
from bitdiff.diffusion.sampling import Estimation, Trajectory, follow
from bitdiff.metrics import bit_histograms
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.denoiser import Denoiser, decode_values, evaluate_network, join
from bitdiff.tasks.options import GUIDANCE, LEAST_TRAINED_GUIDANCE, SampleOptions, plan_of, shown_steps


def sample(
    model: Denoiser, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples conditioned on the arrays from `condition_on`: the task's `sample`.

    Args:
      model: the denoiser.
      params: its parameters.
      arrays: arrays [B, ...] by name.
      keys: PRNG keys [B], one per sample.
      options: how to sample.

    Raises:
      UsageError: an option that the model does not support, or out of range.
    """
    _check_options(model, options)
    derived = derive_keys(keys)
    values = [condition.receive(params, arrays, derived) for condition in model.conditions]
    denoise = _guided(model, params, values, options, len(keys))
    for condition in model.conditions:
        denoise = condition.constrain(denoise, arrays, derived)
    samples = follow(
        denoise,
        keys,
        (len(keys), *model.layout.grid, model.width),
        plan_of(options, (*model.layout.grid, 1)[0]),
        sampler=options.sampler,
        estimation=Estimation(model.objective.prediction, model.clip, model.self_cond_rate > 0, options.momentum),
        keep_trajectory=options.frames > 0,
    )
    outputs = {"source": arrays["source"]} if "source" in arrays else {}
    for condition, value in zip(model.conditions, values, strict=True):
        outputs |= condition.outputs(value)
    if samples.trajectory is not None:
        outputs |= _frames(model, samples.trajectory, options.frames)
    return outputs | _decoded(model, samples.x0)


def _guided(model: Denoiser, params: Any, values: list[Any], options: SampleOptions, count: int) -> Denoise:
    """The denoiser conditioned on `values`, guided by each condition with its weight, and by self-conditioning."""

    def denoiser(dropped: Condition | None) -> Denoise:
        signals = [
            condition.embed(params, value, condition is dropped)
            for condition, value in zip(model.conditions, values, strict=True)
        ]
        inputs = join(model, params, signals, count, weight=options.self_guidance or 1.0)

        def denoise(x_t, x0_prev, gamma_t):
            return model.objective.readout(evaluate_network(model, params, x_t, x0_prev, gamma_t, inputs))

        return denoise

    denoise = denoiser(None)
    for condition in model.conditions:
        weight = getattr(options, condition.guidance_option) if condition.guidance_option else 0.0
        if weight:
            denoise = guide(denoise, denoiser(condition), weight)
    if options.self_guidance and not model.trained_guidance:
        prediction = model.objective.prediction
        denoise = self_guide(denoise, options.self_guidance, prediction=prediction, clip=model.clip)
    return denoise


def _check_options(model: Denoiser, options: SampleOptions) -> None:
    if options.beams != 1:
        raise UsageError(f"beams is {options.beams}; only an autoregressive model supports more than 1")
    if options.temperature != 1.0:
        raise UsageError(
            f"temperature is {options.temperature:g}; only docking and masked diffusion support values other than 1"
        )
    if options.lag > model.lag:
        raise UsageError(f"lag is {options.lag}; the model was trained with config.diffusion.lag={model.lag:g}")
    if options.self_guidance and not model.self_cond_rate:
        raise UsageError(f"self_guidance is {options.self_guidance}; it requires a model with self-conditioning")
    if options.momentum and not model.self_cond_rate:
        raise UsageError(f"momentum is {options.momentum}; it requires a model with self-conditioning")
    if options.momentum and options.self_guidance and not model.trained_guidance:
        raise UsageError(
            f"momentum is {options.momentum} and self_guidance {options.self_guidance}; self-guidance computes its "
            "own estimate at every step, so momentum has no effect"
        )
    largest = model.trained_guidance
    if options.self_guidance and largest and not LEAST_TRAINED_GUIDANCE <= options.self_guidance <= largest:
        raise UsageError(
            f"self_guidance is {options.self_guidance}; the model was trained with weights from "
            f"{LEAST_TRAINED_GUIDANCE:g} to {largest:g} (config.diffusion.trained_guidance)"
        )
    conditions = {condition.guidance_option: condition for condition in model.conditions}
    for option, name in GUIDANCE.items():
        weight = getattr(options, option)
        if weight and option not in conditions:
            raise UsageError(f"{option} is {weight}; it requires a model conditioned on {name}")
        if weight and not conditions[option].dropout:
            raise UsageError(
                f"{option} is {weight}; it requires a model trained with {conditions[option].dropout_field} above 0"
            )


def _frames(model: Denoiser, trajectory: Trajectory, frames: int) -> dict[str, jax.Array]:
    """Evenly spread estimates of the trajectory [B, frames, ...]; of points and pixels also the x_t, as 'path'."""
    shown = shown_steps(len(trajectory.x0), frames)
    outputs = {"trajectory": jnp.moveaxis(decode_values(model, trajectory.x0[shown]), 0, 1)}
    if model.codec.encoding in ("real", "continuous"):
        outputs["path"] = jnp.moveaxis(trajectory.x_t[shown], 0, 1)
    return outputs


def _decoded(model: Denoiser, analog: jax.Array) -> dict[str, jax.Array]:
    """Samples as values, with the fraction of invalid codes and the histogram of the bits."""
    codec = model.codec
    outputs = {
        model.layout.field: decode_values(model, analog),
        "invalid": jnp.mean(codec.invalid(analog), axis=tuple(range(1, analog.ndim)), dtype=jnp.float32),
    }
    if codec.encoding != "real":
        outputs["histogram"] = bit_histograms.histogram(analog, codec.scale)
    return outputs
