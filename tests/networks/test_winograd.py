import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.networks import winograd
from bitdiff.networks.layers import Conv


def direct(x, kernel):
    """The zero-padded convolution in float64, computed from its definition."""
    x, kernel = np.asarray(x, np.float64), np.asarray(kernel, np.float64)
    height, width = x.shape[1:3]
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    return sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(3) for j in range(3))


def error(result, exact):
    return np.sqrt(np.mean((result - exact) ** 2) / np.mean(exact**2))


@pytest.fixture(scope="module")
def arrays():
    keys = jax.random.split(jax.random.key(0), 3)
    x, kernel = jax.random.normal(keys[0], (6, 8, 12, 64)), jax.random.normal(keys[1], (3, 3, 64, 72))
    return x, kernel, jax.random.normal(keys[2], (6, 8, 12, 72))


def test_winograd_equals_the_direct_convolution(arrays):
    x, kernel, _ = arrays
    # 0.8e-6 was measured; float32 rounds at 0.6e-7, and a direct convolution in float32 gives 0.3e-6.
    assert error(jax.jit(winograd.convolve)(x, kernel), direct(x, kernel)) < 1.5e-6


def test_winograd_gradients_equal_those_of_the_direct_convolution(arrays):
    x, kernel, g = arrays
    to_x, to_kernel = jax.jit(lambda x, kernel, g: jax.vjp(winograd.convolve, x, kernel)[1](g))(x, kernel, g)
    assert error(to_x, direct(g, np.asarray(kernel)[::-1, ::-1].swapaxes(2, 3))) < 1.5e-6
    padded = np.pad(np.asarray(x, np.float64), ((0, 0), (1, 1), (1, 1), (0, 0)))
    seen = np.array([[padded[:, i : i + 8, j : j + 12] for j in range(3)] for i in range(3)])
    assert error(to_kernel, np.einsum("ijbhwc,bhwo->ijco", seen, g, optimize=True)) < 1.5e-6


@pytest.mark.slow
def test_winograd_supports_forward_derivatives_and_vmap(arrays):
    x, kernel, _ = arrays
    _, tangent = jax.jvp(lambda x: winograd.convolve(x, kernel), (x,), (x,))
    np.testing.assert_allclose(tangent, winograd.convolve(x, kernel), rtol=1e-4, atol=1e-3)  # convolution is linear
    mapped = jax.vmap(lambda x: winograd.convolve(x[None], kernel)[0])(x)
    np.testing.assert_allclose(mapped, winograd.convolve(x, kernel), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "kernel", "dtype", "answer"),
    [
        ((4, 8, 8, 64), (3, 3, 64, 64), "float32", True),
        ((4, 32, 4, 128), (3, 3, 128, 64), "float32", True),
        ((16, 8, 6, 64), (3, 3, 64, 64), "float32", False),
        ((16, 6, 8, 64), (3, 3, 64, 64), "float32", False),
        ((8, 8, 8, 63), (3, 3, 63, 64), "float32", False),
        ((8, 8, 8, 64), (3, 3, 64, 63), "float32", False),
        ((8, 8, 8, 64), (1, 1, 64, 64), "float32", False),
        ((8, 8, 8, 64), (3, 3, 64, 64), "bfloat16", False),
        ((3, 8, 8, 64), (3, 3, 64, 64), "float32", False),
        ((4, 8, 8, 64), (3, 3, 64, 128), "float32", False),
        (jax.export.symbolic_shape("b, 8, 8, 64"), (3, 3, 64, 64), "float32", False),
    ],
)
def test_winograd_is_used_only_where_it_pays(shape, kernel, dtype, answer, monkeypatch):
    x, kernel = jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct(kernel, dtype)
    assert winograd.pays(x, kernel) is answer
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert not winograd.pays(x, kernel)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (1, 1)])
def test_the_conv_layer_equals_flaxs(size, stride, arrays):
    x = arrays[0]
    ours, usual = Conv(72, size=size, stride=stride), nn.Conv(72, (size, size), stride)
    params = ours.init(jax.random.key(0), x)
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, usual.init(jax.random.key(0), x))
    params["params"]["bias"] = jnp.arange(72.0)
    assert ("conv_general_dilated" in str(jax.make_jaxpr(ours.apply)(params, x))) is ((size, stride) != (3, 1))
    assert error(ours.apply(params, x), np.asarray(usual.apply(params, x), np.float64)) < 1.5e-6


def test_winograd_is_not_used_for_described_devices(arrays):
    x, kernel, _ = arrays
    assert winograd.pays(x, kernel)
    with winograd.for_other_devices():
        assert not winograd.pays(x, kernel)
    assert winograd.pays(x, kernel)
