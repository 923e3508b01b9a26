"""The training state and its moving average."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax


class TrainState(NamedTuple):
    """Everything a step changes; the randomness of a step is derived from `step`."""

    step: jax.Array  # int32 [], steps completed
    params: Any
    ema_params: Any
    opt_state: Any


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """A state at step 0, whose moving average starts as a copy of the weights."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema_params=jax.tree.map(jnp.copy, params),  # a copy, since one buffer cannot be donated twice
        opt_state=optimizer.init(params),
    )


def apply_gradients(
    state: TrainState, grads: Any, optimizer: optax.GradientTransformation, ema_decay: float
) -> TrainState:
    """One optimizer step; ema <- ema + (1 - ema_decay) (params - ema)."""
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # In this form, the average of weights that never change, such as frozen ones, equals them to the last bit.
    ema_params = jax.tree.map(lambda ema, new: ema + (1.0 - ema_decay) * (new - ema), state.ema_params, params)
    return TrainState(state.step + 1, params, ema_params, opt_state)
