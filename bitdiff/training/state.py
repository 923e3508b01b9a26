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
    """One optimizer step; ema <- ema + (1 - decay) (params - ema), decay = min(ema_decay, (1 + step) / (10 + step)).

    The warm-up of the decay keeps the random initial weights out of the average, which at every step spans about the
    last tenth of the steps so far, until this span reaches that of `ema_decay`.

    Args:
      state: the state before the step.
      grads: gradients of state.params.
      optimizer: the optimizer.
      ema_decay: the largest decay, in [0, 1).
    """
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    decay = jnp.minimum(ema_decay, (1.0 + state.step) / (10.0 + state.step))
    # In this form, the average of weights that never change, such as frozen ones, equals them to the last bit.
    ema_params = jax.tree.map(lambda ema, new: ema + (1.0 - decay) * (new - ema), state.ema_params, params)
    return TrainState(state.step + 1, params, ema_params, opt_state)
