"""The compiled training step, and the compiled loss on held-out examples."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bitdiff.runtime import devices
from bitdiff.tasks import Task
from bitdiff.training.state import TrainState, apply_gradients


class Rows(NamedTuple):
    """A process's rows of a global batch, the training step's input.

    examples: arrays by name, [B, ...].
    index: int32 [B], the rows' indices in the global batch.
    stop: float32 [B], the number of the signal this process received, or 0; its maximum reaches all processes in the
      same step.
    """

    examples: dict[str, np.ndarray]
    index: np.ndarray
    stop: np.ndarray


def make_train_step(
    task: Task,
    optimizer: optax.GradientTransformation,
    *,
    ema_decay: float,
    accumulate: int,
    key: jax.Array,
    on: Sequence[Any] | None = None,
) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """The training step over all devices: (state, rows [devices, B, ...]) -> (state, metrics).

    Every example's randomness comes from fold_in(fold_in(key, step), its index in the global batch), so
    a run does not depend on the number of devices and processes. The state is donated.

    Args:
      task: the task whose loss is minimized.
      optimizer: the optimizer.
      ema_decay: largest decay of the moving average; see `apply_gradients`.
      accumulate: number of parts in which a device processes its rows, one after another; gradients are averaged.
      key: the run's PRNG key.
      on: the devices, by default those of all processes.
    """

    def part(params, rows, step_key):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(step_key, rows.index)
        (loss, metrics), grads = jax.value_and_grad(task.loss, has_aux=True)(params, rows.examples, keys)
        return {"loss": loss} | metrics, grads

    def step(state, rows):
        step_key = jax.random.fold_in(key, state.step)
        if accumulate == 1:
            sums = part(state.params, rows, step_key)
        else:
            parts = jax.tree.map(lambda a: a.reshape(accumulate, len(a) // accumulate, *a.shape[1:]), rows)
            shapes = jax.eval_shape(part, state.params, jax.tree.map(lambda a: a[0], parts), step_key)
            zeros = jax.tree.map(lambda a: jnp.zeros(a.shape, a.dtype), shapes)

            def add(sums, rows):
                return jax.tree.map(jnp.add, sums, part(state.params, rows, step_key)), None

            sums, _ = jax.lax.scan(add, zeros, parts)
            sums = jax.tree.map(lambda a: a / accumulate, sums)
        metrics, grads = devices.mean(sums)
        metrics |= {"grad_norm": optax.tree.norm(grads), "stop": devices.largest(jnp.max(rows.stop))}
        return apply_gradients(state, grads, optimizer, ema_decay), metrics

    return devices.pmap_step(step, on)


def make_test_loss(task: Task, key: jax.Array) -> Callable[[Any, Rows], jax.Array]:
    """The mean loss of rows [devices, B, ...] over all devices: (params, rows) -> float32 [].

    A row's randomness comes from the key and its index, so that different weights are compared on the same noise; it
    includes dropout, as in training.
    """

    def loss(params, rows):
        keys = jax.vmap(jax.random.fold_in, (None, 0))(key, rows.index)
        return devices.mean(task.loss(params, rows.examples, keys)[0])

    return devices.pmap_mean(loss)
