import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bitdiff.configuration import base_config, load_config
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task
from bitdiff.training import state
from bitdiff.training.optimizer import learning_rate, make_optimizer, optimizer_of


def options(**changes):
    section = base_config().optimizer
    section.update(learning_rate=1e-2, warmup_steps=10, **changes)
    return section


def test_learning_rates_follow_their_schedules():
    constant = learning_rate(options(), 100)
    np.testing.assert_allclose([constant(0), constant(5), constant(10), constant(99)], [0, 5e-3, 1e-2, 1e-2])
    linear = learning_rate(options(schedule="linear"), 110)
    np.testing.assert_allclose([linear(10), linear(60), linear(110)], [1e-2, 5e-3, 0])
    cosine = learning_rate(options(schedule="cosine"), 110)
    np.testing.assert_allclose([cosine(5), cosine(60), cosine(110)], [5e-3, 5e-3, 0], atol=1e-9)
    with pytest.raises(UsageError, match="needs more steps than that"):
        learning_rate(options(schedule="linear"), 10)
    with pytest.raises(UsageError, match="unknown learning rate schedule 'exponential'"):
        learning_rate(options(schedule="exponential"), 10)


def test_the_moving_average_starts_as_a_copy_and_follows_the_weights():
    section = options(clip_norm=0.0)
    section.warmup_steps = 0
    optimizer = make_optimizer(section, 10)
    params = {"w": jnp.array([1.0, 2.0])}
    first = state.init_state(params, optimizer)
    np.testing.assert_array_equal(first.ema_params["w"], params["w"])
    # The average has its own buffers: a donated state must not hold a buffer twice.
    assert first.ema_params["w"].unsafe_buffer_pointer() != first.params["w"].unsafe_buffer_pointer()
    second = state.apply_gradients(first, {"w": jnp.array([1.0, -1.0])}, optimizer, 0.9)
    # Adam's first step is the learning rate against the gradient's sign.
    np.testing.assert_allclose(second.params["w"], [0.99, 2.01], rtol=1e-5)
    np.testing.assert_allclose(second.ema_params["w"], [0.991, 2.009], rtol=1e-5)  # the decay of the first step is 0.1
    assert int(second.step) == 1


def test_the_moving_average_forgets_the_initial_weights():
    """After 1,500 steps, a constant decay of 0.999 would leave 22% of them."""
    optimizer = optax.identity()
    step = jax.jit(lambda s: state.apply_gradients(s, {"w": jnp.zeros(1)}, optimizer, 0.999))
    current = state.init_state({"w": jnp.zeros(1)}, optimizer)._replace(ema_params={"w": jnp.ones(1)})
    expected = 1.0
    for i in range(1500):
        current = step(current)
        expected *= min(0.999, (1 + i) / (10 + i))
        if i < 20:
            np.testing.assert_allclose(current.ema_params["w"], expected, rtol=1e-4)
    assert 0 <= float(current.ema_params["w"][0]) < 1e-6
    late = step(current._replace(step=jnp.int32(100_000), ema_params={"w": jnp.ones(1)}))
    np.testing.assert_allclose(late.ema_params["w"], 0.999, rtol=1e-6)


def test_gradients_are_clipped_by_their_global_norm():
    section = options(clip_norm=1.0)
    section.warmup_steps = 0
    grads = {"w": jnp.array([30.0, 40.0])}
    optimizer = make_optimizer(section, 10)
    clipped, _ = optimizer.update(grads, optimizer.init(grads), grads)
    plain = optax.adam(1e-2)
    expected, _ = plain.update({"w": jnp.array([0.6, 0.8])}, plain.init(grads), grads)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), clipped, expected)


@pytest.mark.slow
def test_muon_orthogonalizes_updates_of_hidden_matrices_and_leaves_the_rest_to_adam():
    section = options(name="muon", clip_norm=0.0)
    section.warmup_steps = 0
    key = jax.random.key(0)
    params = {
        "blocks_0": {"attention": {"query": {"kernel": jax.random.normal(key, (16, 16)), "bias": jnp.ones(16)}}},
        "up0_block1": {"conv_in": {"kernel": jax.random.normal(key, (3, 3, 4, 8))}},
        "scale_shift": {"kernel": jax.random.normal(key, (16, 32))},
        "out": {"kernel": jax.random.normal(key, (16, 4))},
    }
    grads = jax.tree.map(lambda a: 0.3 * a + 0.1, params)
    optimizer = make_optimizer(section, 10)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    adam = optax.nadam(1e-2)  # optax's Muon gives it Nesterov momentum too
    expected, _ = adam.update(grads, adam.init(params), params)
    for part in ("scale_shift", "out"):
        np.testing.assert_allclose(updates[part]["kernel"], expected[part]["kernel"], rtol=1e-5)
    query = updates["blocks_0"]["attention"]["query"]
    np.testing.assert_allclose(query["bias"], expected["blocks_0"]["attention"]["query"]["bias"], rtol=1e-5)
    # Five Newton-Schulz steps bring all singular values to between 0.7 and 1.2 (Jordan 2024); the update is scaled
    # to 0.2 learning rates per element, as Adam's is (Liu et al. 2025).
    for update in (query["kernel"], updates["up0_block1"]["conv_in"]["kernel"].reshape(-1, 8)):
        values = np.linalg.svd(np.asarray(update), compute_uv=False) / (1e-2 * 0.2 * np.sqrt(max(update.shape)))
        assert 0.3 < values.min() < values.max() < 1.3
    section.name = "sgd"
    with pytest.raises(UsageError, match="unknown optimizer"):
        make_optimizer(section, 10)


def test_frozen_weights_stay_unchanged_bit_for_bit():
    section = options(weight_decay=0.1)
    section.warmup_steps = 0
    optimizer = make_optimizer(section, 10, frozen=("first",))
    params = {"first": {"w": jax.random.normal(jax.random.key(0), (50,))}, "prior": {"w": jnp.ones(3)}}
    now = state.init_state(params, optimizer)
    for _ in range(3):
        now = state.apply_gradients(now, jax.tree.map(jnp.ones_like, params), optimizer, 0.9)
    np.testing.assert_array_equal(now.params["first"]["w"], params["first"]["w"])
    np.testing.assert_array_equal(now.ema_params["first"]["w"], params["first"]["w"])
    assert np.abs(now.params["prior"]["w"] - 1.0).min() > 1e-3
    assert not [leaf for leaf in jax.tree.leaves(now.opt_state) if jnp.shape(leaf) == (50,)]  # no state for them


@pytest.mark.parametrize(
    ("name", "first_update"), [("adam", 1.0), ("muon", 1.0 + 0.9 / 1.9)]
)  # Muon's Adam uses Nesterov momentum
def test_copied_weights_are_trained_only_after_the_frozen_steps(name, first_update):
    section = options(name=name, weight_decay=0.1, schedule="linear", freeze_steps=2)
    section.warmup_steps = 0
    optimizer = make_optimizer(section, 10, frozen=("first",), copied=("prior/trunk",))
    params = {"first": {"w": jnp.ones(2)}, "prior": {"trunk": {"w": jnp.zeros(4)}, "head": {"w": jnp.zeros(4)}}}
    steps = [state.init_state(params, optimizer)]
    update = jax.jit(lambda now: state.apply_gradients(now, jax.tree.map(jnp.ones_like, params), optimizer, 0.9))
    for _ in range(4):
        steps.append(update(steps[-1]))
    trunk, head = (np.array([s.params["prior"][part]["w"] for s in steps]) for part in ("trunk", "head"))
    np.testing.assert_array_equal(trunk[:3], 0)
    np.testing.assert_allclose(
        trunk[3], -0.8e-2 * first_update, rtol=1e-4
    )  # Adam's first step at the third learning rate
    assert (np.diff(head, axis=0) < -1e-3).all()
    assert trunk[4, 0] < trunk[3, 0]
    for now in steps:
        np.testing.assert_array_equal(now.params["first"]["w"], 1)


def test_freeze_steps_require_copied_layers():
    config = load_config("digits")
    config.optimizer.freeze_steps = 5
    task = make_task(config)
    with pytest.raises(UsageError, match="freeze_steps is 5, but only a prior over pointers"):
        optimizer_of(config, task)
    optimizer_of(config, task._replace(copied=("prior/trunk",)))
