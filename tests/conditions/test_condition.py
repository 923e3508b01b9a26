"""A condition of the user's own, through the interface that all conditions share."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.conditions import Condition, Signal
from bitdiff.configuration import base_config, sections
from bitdiff.data.dataset import Arrays
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task, sample_options

KEY = jax.random.key(0)


def vectors():
    """Vectors of four numbers, attended to as they are."""
    return Condition(
        name="vectors",
        takes=("vector",),
        dropout=0.1,
        guidance_option="image_guidance",
        init=lambda key: (key, {}, Signal(context=jnp.zeros((1, 1, 4)))),
        select=lambda request: {"vector": np.stack([row["vector"] for row in request.rows])},
        observe=lambda params, batch, keys: Signal(context=batch["vector"][:, None]),
        receive=lambda params, arrays, keys: arrays["vector"],
        embed=lambda params, value, null: Signal(context=jnp.where(null, 0.0, value)[:, None]),
        uses_examples=True,
    )


def tiny_config():
    config = base_config()
    config.task = "tokens"
    config.data.update(length=3, vocab_size=4, num_classes=0)
    config.network = sections.transformer(dim=8, layers=1, head_dim=8)
    return config


@pytest.mark.slow
def test_the_loss_and_the_samples_depend_on_a_custom_condition():
    config = tiny_config()
    task = make_task(config, conditions=[vectors()])
    assert task.uses_examples
    params = jax.jit(task.init)(KEY)
    params = jax.tree.map(lambda p: p + 0.3 * jax.random.normal(KEY, p.shape), params)
    batch = {"tokens": jnp.zeros((2, 3), jnp.int32), "vector": jnp.ones((2, 4))}
    grad = jax.jit(jax.grad(lambda v: task.loss(params, batch | {"vector": v}, jax.random.split(KEY, 2))[0]))
    assert jnp.abs(grad(batch["vector"])).min() > 0
    condition = task.condition(np.arange(4), None, Arrays({"vector": np.eye(2, 4, dtype=np.float32)}))
    np.testing.assert_array_equal(condition["vector"], np.eye(2, 4)[[0, 1, 0, 1]])
    keys = jax.random.split(KEY, 4)

    options = sample_options(config.sample, steps=2)
    histogram = jax.jit(lambda vector: task.sample(params, {"vector": vector}, keys, options)["histogram"])
    assert (histogram(condition["vector"]) != histogram(3 * condition["vector"])).any()


def test_a_custom_condition_is_guided_by_the_weight_it_names():
    config = tiny_config()
    task = make_task(config, conditions=[vectors()])
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(KEY, p.shape), jax.jit(task.init)(KEY))
    arrays, keys = {"vector": jnp.ones((2, 4))}, jax.random.split(KEY, 2)
    options = sample_options(config.sample, steps=2)

    def histogram(weight):
        sample = jax.jit(lambda: task.sample(params, arrays, keys, options._replace(image_guidance=weight)))
        return sample()["histogram"]

    assert (histogram(0.0) != histogram(5.0)).any()


def test_examples_that_no_condition_takes_and_tasks_without_conditions_are_refused():
    config = tiny_config()
    task = make_task(config, conditions=[vectors()])
    with pytest.raises(UsageError, match=r"examples with sound were given, but .* examples with known or vector"):
        task.condition(np.arange(2), None, Arrays({"sound": np.ones(2)}))
    config.task = "autoregressive"
    with pytest.raises(UsageError, match="only images, tokens, points take further conditions"):
        make_task(config, conditions=[vectors()])
