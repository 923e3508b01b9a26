"""Bit Diffusion block by block: causality, the cache, and the two ends, one token and all tokens per block."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import perturbed

from bitdiff import data
from bitdiff.configs import mixture
from bitdiff.configuration import sections
from bitdiff.metrics import distributions
from bitdiff.networks import make_network
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task, network_evaluations, sample_options
from bitdiff.training.optimizer import make_optimizer
from bitdiff.training.state import init_state

KEY = jax.random.key(0)


def make_config(length=6, size=2, **changes):
    config = mixture.get_config()
    config.task = "blocks"
    config.optimizer.name = "adam"
    config.data.update(length=length, vocab_size=7, num_classes=0)
    config.network = sections.transformer(dim=16, layers=2, head_dim=8)
    config.blocks.update(size=size, head=sections.transformer(dim=16, layers=1, head_dim=8))
    config.update_from_flattened_dict(changes)
    return config


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_block_sees_itself_and_all_earlier_blocks(size):
    options = sections.transformer(dim=16, layers=2, head_dim=8)
    network = make_network(options, out_channels=5, num_classes=0, length=6, vocab_size=7, block=size)
    tokens = jax.random.randint(KEY, (2, 6), 0, 7)
    params = perturbed(jax.jit(network.init)(KEY, tokens))
    evaluate, advance = jax.jit(network.apply), jax.jit(functools.partial(network.apply, method="advance"))
    whole = evaluate(params, tokens)
    changed = evaluate(params, tokens.at[:, 3].set((tokens[:, 3] + 1) % 7))
    affected = np.abs(changed - whole).max(axis=(0, 2)) > 1e-4
    np.testing.assert_array_equal(affected, np.arange(6) // size >= 3 // size)
    cache = network.apply(params, 2, method="empty_cache")
    for i in range(0, 6, size):
        part, cache = advance(params, tokens[:, i : i + size], i, cache)
        np.testing.assert_allclose(part, whole[:, i : i + size], atol=2e-5)


@pytest.mark.parametrize(("length", "size"), [(6, 2), (5, 2), (6, 1), (6, 6)])
@pytest.mark.slow
def test_a_blocks_loss_does_not_depend_on_later_tokens(length, size):
    task = make_task(make_config(length, size))
    params = perturbed(jax.jit(task.init)(KEY))
    values = jax.random.randint(KEY, (4, length), 0, 7)
    keys = jax.random.split(KEY, 4)
    losses = jax.jit(task.losses)
    loss, t = losses(params, {"tokens": values}, keys)
    blocks = -(-length // size)
    assert loss.shape == t.shape == (4 * blocks,)
    assert len(np.unique(np.asarray(t))) == 4 * blocks  # every block has its own time
    other, _ = losses(params, {"tokens": values.at[:, -1].set((values[:, -1] + 1) % 7)}, keys)
    changed = np.asarray(loss != other).reshape(blocks, 4).T
    np.testing.assert_array_equal(changed, np.broadcast_to(np.arange(blocks) == blocks - 1, changed.shape))


@pytest.mark.slow
def test_samples_have_the_length_of_the_data_and_depend_on_their_own_key():
    config = make_config(5, 2)
    task = make_task(config)
    params = perturbed(jax.jit(task.init)(KEY))
    options = sample_options(config.sample, steps=3)
    sample = jax.jit(lambda keys: task.sample(params, {}, keys, options))
    keys = jax.random.split(KEY, 4)
    outputs = sample(keys)
    assert outputs["tokens"].shape == (4, 5)
    assert outputs["invalid"].shape == (4,)
    np.testing.assert_array_equal(sample(keys[::-1])["tokens"], outputs["tokens"][::-1])


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.slow
def test_a_trained_model_samples_the_joint_distribution(size):
    """Pairs whose second token is a known function of the first, which a block of one token learns from its context."""
    first = jax.random.randint(KEY, (4_096,), 0, 7)
    values = jnp.stack([first, (3 * first + 1) % 7], axis=1)
    config = make_config(2, size)
    task = make_task(config)
    config.optimizer.update(learning_rate=3e-3, warmup_steps=10, schedule="constant")
    optimizer = make_optimizer(config.optimizer, 400)
    state = init_state(jax.jit(task.init)(KEY), optimizer)

    @jax.jit
    def step(state, key):
        rows = jax.random.randint(key, (256,), 0, len(values))
        grads = jax.grad(lambda p: task.loss(p, {"tokens": values[rows]}, jax.random.split(key, 256))[0])(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        return state._replace(params=jax.tree.map(jnp.add, state.params, updates), opt_state=opt_state), None

    state, _ = jax.lax.scan(step, state, jax.random.split(KEY, 400))
    options = sample_options(config.sample, steps=20, td=0.0)
    tokens = jax.jit(lambda keys: task.sample(state.params, {}, keys, options)["tokens"])(jax.random.split(KEY, 2_000))
    states = np.stack([np.arange(7), (3 * np.arange(7) + 1) % 7], axis=1)
    assert distributions.tv(np.asarray(tokens), states, np.full(7, 1 / 7)) < 0.15  # 0.86 for an independent second


def test_evaluations_are_those_of_all_blocks():
    config = make_config(length=6, size=4)
    options = sample_options(config.sample, steps=5)
    assert network_evaluations(options, make_task(config)) == 10
    assert network_evaluations(options) == 5


def test_the_error_of_an_untrained_model_is_the_variance_of_the_bits():
    config = make_config()
    task = make_task(config)
    params, batch = jax.jit(task.init)(KEY), {"tokens": np.zeros((4, 6), np.int32)}
    error, gamma_t = jax.jit(task.errors)(params, batch, jax.random.split(KEY, 4))
    assert error.shape == gamma_t.shape == (12,)  # three blocks of each
    np.testing.assert_allclose(error, 1.0, atol=0.05)  # its output is near zero


def test_unsupported_options_are_refused():
    with pytest.raises(UsageError, match=r"config.blocks.size is 9; it must be from 1 to .* 6"):
        make_task(make_config(6, 9))
    with pytest.raises(UsageError, match=r"config.diffusion.lag is 2.0; it must be 0.0 with blocks"):
        make_task(make_config(**{"diffusion.lag": 2.0}))
    with pytest.raises(UsageError, match=r"config.blocks.head is empty"):
        make_task(make_config(**{"blocks.head": {}}))
    config = make_config()
    task = make_task(config)
    for option in ({"lag": 1.0}, {"beams": 2}, {"guidance": 1.0}, {"temperature": 0.5}):
        with pytest.raises(UsageError, match="not supported by a model that samples block by block"):
            task.sample(None, {}, jax.random.split(KEY, 2), sample_options(config.sample, steps=4, **option))
    known = data.dataset.Arrays({"known": np.zeros((2, 6), int)})
    with pytest.raises(UsageError, match="cannot complete known values"):
        task.condition(np.arange(2), None, known)
