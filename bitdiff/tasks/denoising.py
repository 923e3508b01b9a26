"""Diffusion of integers as bits, or of real numbers: what the tasks of images, tokens and points have in common."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.conditions import Condition, Request, Signal, derive_keys
from bitdiff.data import Dataset, Source
from bitdiff.diffusion.training_loss import TrainedGuidance, denoising_loss
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.denoiser import (
    Denoiser,
    Layout,
    encode_values,
    error_of_x0,
    evaluate_network,
    init_params,
    join,
    make_denoiser,
    with_squared_error,
)
from bitdiff.tasks.denoising_samples import sample
from bitdiff.tasks.options import LEAST_TRAINED_GUIDANCE, SampleOptions
from bitdiff.tasks.task import Score, Task

Evaluate = Callable[[dict[str, np.ndarray], Dataset, SampleOptions], dict[str, Score]]


def make_denoising_task(
    config: Any,
    layout: Layout,
    evaluate: Evaluate,
    network: nn.Module | None = None,
    conditions: Sequence[Condition] = (),
) -> Task:
    """A task over values of a layout: integers below config.data.vocab_size, or real numbers.

    With config.diffusion.sigma_data, the network has EDM's preconditioning, time input and loss weight. With
    config.latents.count, it is conditioned on latents that an encoder infers from the clean example (DisCo-Diff).

    Args:
      config: a resolved config.
      layout: the values it generates.
      evaluate: the task's `evaluate`.
      network: a linen module in place of the config's.
      conditions: conditions besides those that the config describes.

    Raises:
      UsageError: an unknown name, a missing size, or incompatible sections.
    """
    model = make_denoiser(config, layout, network, conditions)
    infer = next((condition.infer for condition in model.conditions if condition.infer), None)
    encodes_examples = any(condition.uses_examples and condition.infer is None for condition in model.conditions)
    return Task(
        field=layout.field,
        init=partial(init_params, model),
        loss=lambda params, batch, keys: (jnp.mean(losses(model, params, batch, keys)[0]), {}),
        losses=partial(losses, model),
        errors=partial(errors, model),
        sample=partial(sample, model),
        condition=partial(condition_on, model),
        evaluate=evaluate,
        network=None if encodes_examples else partial(single_evaluation, model),
        uses_examples=any(condition.uses_examples for condition in model.conditions),
        infer=infer,
    )


def losses(model: Denoiser, params: Any, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The loss and the time of each example, or of each caption of a picture: float32 [N] each."""
    loss, t, signals = _denoise(model, params, batch, keys, guided=model.trained_guidance > 0)
    return sum((signal.penalty for signal in signals if signal.penalty is not None), loss), t


def errors(model: Denoiser, params: Any, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The mean squared error of the estimate of x0, and gamma_t, of each example or caption: float32 [N] each."""
    plain = with_squared_error(model)
    error, t, _ = _denoise(plain, params, batch, keys, guided=False)
    return error_of_x0(plain, error, t)


def _denoise(
    model: Denoiser, params: Any, batch: dict[str, jax.Array], keys: jax.Array, *, guided: bool
) -> tuple[jax.Array, jax.Array, list[Signal]]:
    """The loss without penalties [N], the time [N], and the signals of the conditions; `guided` trains guidance."""
    for condition in model.conditions:
        batch, keys = condition.expand(batch, keys)
    x0 = encode_values(model, batch[model.layout.field])
    derived = derive_keys(keys)
    signals = [condition.observe(params, batch, derived) for condition in model.conditions]
    inputs, guidance = join(model, params, signals, len(x0)), None
    if guided:
        weight = _guidance_weights(model, derived.guidance)
        guidance = TrainedGuidance(weight, (inputs, derived.dropout))
        inputs = join(model, params, signals, len(x0), weight=weight)

    def network(x_t, x0_prev, gamma_t, condition):
        inputs, dropout_keys = condition
        return evaluate_network(model, params, x_t, x0_prev, gamma_t, inputs, dropout_keys)

    loss, t = denoising_loss(
        network,
        x0,
        derived.diffusion,
        (inputs, derived.dropout),
        gamma=model.gamma,
        objective=model.objective,
        self_cond_rate=model.self_cond_rate,
        clip=model.clip,
        lag=model.lag,
        weight=model.weight,
        trained_guidance=guidance,
    )
    return loss, t, signals


def _guidance_weights(model: Denoiser, keys: jax.Array) -> jax.Array:
    """Weights w [B] of guidance by self-conditioning, w = exp(u) with u uniform from ln 0.5 to ln of the largest."""
    low, high = np.log(LEAST_TRAINED_GUIDANCE), np.log(model.trained_guidance)
    return jnp.exp(jax.vmap(lambda key: jax.random.uniform(key, minval=low, maxval=high))(keys))


def condition_on(
    model: Denoiser, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """The task's `condition`; see `select`."""
    return select(model.conditions, indices, labels, examples)


def select(
    conditions: Sequence[Condition], indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None
) -> dict[str, np.ndarray]:
    """What each sample is conditioned on, from all conditions: a task's `condition`.

    Raises:
      UsageError: labels or examples were given that the model cannot be conditioned on.
    """
    if labels is not None and not any(condition.takes_labels for condition in conditions):
        raise UsageError("labels were given, but the model is not class-conditional")
    request = Request(np.asarray(indices), labels, examples)
    taken = {name for condition in conditions for name in condition.takes}
    if examples is not None and not any(map(request.offers, taken)):
        raise UsageError(
            f"examples with {', '.join(sorted(examples[0]))} were given, but the model can only be conditioned on "
            f"examples with {' or '.join(sorted(taken)) or 'nothing'}"
        )
    arrays: dict[str, np.ndarray] = {}
    for condition in conditions:
        arrays |= condition.select(request)
    return arrays


def single_evaluation(model: Denoiser, params: Any, condition: dict[str, jax.Array], count: int) -> jax.Array:
    """One network evaluation on zeros for `count` examples, with latents dropped."""
    zeros = jnp.zeros((count, *model.layout.grid, model.width))
    keys = derive_keys(jax.random.split(jax.random.key(0), count))
    arrays = {name: array for name, array in condition.items() if name == "label"}
    signals = [c.embed(params, c.receive(params, arrays, keys), False) for c in model.conditions]
    inputs = join(model, params, signals, count)
    return evaluate_network(model, params, zeros, zeros, jnp.full((count,), 0.5), inputs)
