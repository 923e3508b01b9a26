"""The training state, its optimiser and its moving average."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from bitdiff.errors import UsageError, choose


class TrainState(NamedTuple):
    """Everything a step changes; the randomness of a step is derived from `step`."""

    step: jax.Array  # int32 [], steps done
    params: Any
    ema_params: Any
    opt_state: Any


def learning_rate(options: Any, total_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then constant, or decaying to 0 at `total_steps` ('linear', 'cosine').

    Raises:
      UsageError: an unknown schedule name, or a decay that ends before the warm-up.
    """
    peak, warmup = options.learning_rate, options.warmup_steps
    decay_steps = total_steps - warmup
    choose("learning rate schedule", options.schedule, ("constant", "linear", "cosine"))
    if options.schedule == "constant":
        after = optax.constant_schedule(peak)
    elif decay_steps < 1:
        raise UsageError(
            f"config.train.steps is {total_steps}, but a {options.schedule} decay after "
            f"config.optimizer.warmup_steps = {warmup} needs more steps than that"
        )
    elif options.schedule == "linear":
        after = optax.linear_schedule(peak, 0.0, decay_steps)
    else:
        after = optax.cosine_decay_schedule(peak, decay_steps)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup]) if warmup else after


def make_optimizer(options: Any, total_steps: int) -> optax.GradientTransformation:
    """Adam (AdamW with weight_decay > 0) after clipping by the global norm (clip_norm > 0)."""
    clip = optax.clip_by_global_norm(options.clip_norm) if options.clip_norm > 0 else optax.identity()
    adam = optax.adamw(
        learning_rate(options, total_steps),
        b1=options.b1,
        b2=options.b2,
        eps=options.eps,
        weight_decay=options.weight_decay,
    )
    return optax.chain(clip, adam)


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """A state at step 0, whose moving average starts as a copy of the weights."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema_params=jax.tree.map(jnp.copy, params),  # a copy: donating one buffer twice fails
        opt_state=optimizer.init(params),
    )


def apply_gradients(
    state: TrainState, grads: Any, optimizer: optax.GradientTransformation, ema_decay: float
) -> TrainState:
    """One optimiser step; ema <- ema_decay ema + (1 - ema_decay) params."""
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    ema_params = optax.incremental_update(params, state.ema_params, 1.0 - ema_decay)
    return TrainState(state.step + 1, params, ema_params, opt_state)
