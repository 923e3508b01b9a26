import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bitdiff import state
from bitdiff.errors import UsageError
from configs import common


def options(**changes):
    section = common.base().optimizer
    section.update(learning_rate=1e-2, warmup_steps=10, **changes)
    return section


def test_learning_rates():
    constant = state.learning_rate(options(), 100)
    np.testing.assert_allclose([constant(0), constant(5), constant(10), constant(99)], [0, 5e-3, 1e-2, 1e-2])
    linear = state.learning_rate(options(schedule="linear"), 110)
    np.testing.assert_allclose([linear(10), linear(60), linear(110)], [1e-2, 5e-3, 0])
    cosine = state.learning_rate(options(schedule="cosine"), 110)
    np.testing.assert_allclose([cosine(5), cosine(60), cosine(110)], [5e-3, 5e-3, 0], atol=1e-9)
    with pytest.raises(UsageError, match="needs more steps than that"):
        state.learning_rate(options(schedule="linear"), 10)
    with pytest.raises(UsageError, match="unknown learning rate schedule 'exponential'"):
        state.learning_rate(options(schedule="exponential"), 10)


def test_the_moving_average_starts_as_a_copy_and_follows():
    section = options(clip_norm=0.0)
    section.warmup_steps = 0
    optimizer = state.make_optimizer(section, 10)
    params = {"w": jnp.array([1.0, 2.0])}
    first = state.init_state(params, optimizer)
    np.testing.assert_array_equal(first.ema_params["w"], params["w"])
    # Buffers of their own: a donated state holds no buffer twice.
    assert first.ema_params["w"].unsafe_buffer_pointer() != first.params["w"].unsafe_buffer_pointer()
    second = state.apply_gradients(first, {"w": jnp.array([1.0, -1.0])}, optimizer, 0.9)
    # Adam's first step is the learning rate against the gradient's sign.
    np.testing.assert_allclose(second.params["w"], [0.99, 2.01], rtol=1e-5)
    np.testing.assert_allclose(second.ema_params["w"], [0.999, 2.001], rtol=1e-5)
    assert int(second.step) == 1


def test_gradients_are_clipped_by_their_global_norm():
    section = options(clip_norm=1.0)
    section.warmup_steps = 0
    grads = {"w": jnp.array([30.0, 40.0])}
    optimizer = state.make_optimizer(section, 10)
    clipped, _ = optimizer.update(grads, optimizer.init(grads), grads)
    plain = optax.adam(1e-2)
    expected, _ = plain.update({"w": jnp.array([0.6, 0.8])}, plain.init(grads), grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), clipped, expected)
