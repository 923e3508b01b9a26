from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.runtime import flops


def shape(*sizes):
    return jax.ShapeDtypeStruct(sizes, jnp.float32)


def conv(x, kernel, **options):
    return jax.lax.conv_general_dilated(
        x, kernel, padding="SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"), **{"window_strides": (1, 1)} | options
    )


def test_products_and_their_gradients_are_counted():
    assert flops.count(jnp.matmul, shape(3, 5), shape(5, 7)) == 2 * 3 * 5 * 7
    assert flops.count(jax.jit(jnp.matmul), shape(2, 3, 5), shape(2, 5, 7)) == 2 * 2 * 3 * 5 * 7
    # The backward pass of a product is two products of the same size.
    gradient = jax.grad(lambda a, b: jnp.sum(jnp.sin(a @ b)), argnums=(0, 1))
    assert flops.count(gradient, shape(3, 5), shape(5, 7)) == 3 * 2 * 3 * 5 * 7


@pytest.mark.parametrize("stride", [1, 2])
def test_convolutions_and_their_gradients_are_counted(stride):
    def layer(x, kernel):
        return conv(x, kernel, window_strides=(stride, stride))

    forward = 2 * (4 * (8 // stride) ** 2 * 6) * (3 * 3 * 5)
    assert flops.count(layer, shape(4, 8, 8, 5), shape(3, 3, 5, 6)) == forward
    gradient = jax.grad(lambda x, kernel: jnp.sum(jnp.sin(layer(x, kernel))), argnums=(0, 1))
    assert flops.count(gradient, shape(4, 8, 8, 5), shape(3, 3, 5, 6)) == pytest.approx(3 * forward, rel=0.01)
    grouped = flops.count(lambda x, k: conv(x, k, feature_group_count=5), shape(4, 8, 8, 5), shape(3, 3, 1, 10))
    assert grouped == 2 * (4 * 8 * 8 * 10) * 9


def test_loops_count_every_iteration_and_branches_count_once():
    def scanned(a, b):
        return jax.lax.scan(lambda carry, _: (carry @ b, None), a, None, length=11)[0]

    assert flops.count(scanned, shape(3, 5), shape(5, 5)) == 11 * 2 * 3 * 5 * 5
    assert flops.count(jax.remat(scanned), shape(3, 5), shape(5, 5)) == 11 * 2 * 3 * 5 * 5

    def branched(a, b):
        return jax.lax.cond(a[0, 0] > 0, lambda: a @ b, lambda: a)

    assert flops.count(branched, shape(3, 5), shape(5, 5)) == 2 * 3 * 5 * 5


def test_the_compiler_agrees_about_products():
    a, b = np.ones((64, 32), np.float32), np.ones((32, 48), np.float32)
    analysis = jax.jit(jnp.matmul).lower(a, b).compile().cost_analysis()
    assert flops.count(jnp.matmul, a, b) == analysis["flops"]


def test_recomputed_activations_are_not_counted():
    def block(x, w):
        return jnp.tanh(jnp.tanh(x @ w) @ w)

    def loss(w, x, block):
        x = jax.jit(block)(x, w)  # in a function that is called
        x, _ = jax.lax.scan(lambda x, _: (block(x, w), None), x, None, length=5)
        x = jax.lax.cond(x[0, 0] > 0, lambda x: block(x, w), jnp.tanh, x)
        return jnp.mean(block(x, w) ** 2), {"aux": x}

    shapes = shape(8, 8), shape(4, 8)
    stored = flops.count(jax.value_and_grad(partial(loss, block=block), has_aux=True), *shapes)
    recomputed = partial(loss, block=jax.checkpoint(block))
    assert flops.count(jax.value_and_grad(recomputed, has_aux=True), *shapes) > 1.2 * stored
    assert flops.count_gradient(recomputed, *shapes, has_aux=True) == stored
    assert flops.count_gradient(partial(loss, block=block), *shapes, has_aux=True) == stored
