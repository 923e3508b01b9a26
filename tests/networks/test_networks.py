import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import perturbed

from bitdiff.configuration import sections
from bitdiff.networks import Transformer, UNet, make_network
from bitdiff.networks.layers import Attention, Dropout, group_norm, sinusoid
from bitdiff.runtime.errors import UsageError

CIFAR10 = {"dim": 256, "multipliers": (1, 1, 1), "blocks": 3, "attention_resolutions": (16, 8)}
IMAGENET64 = {"dim": 192, "multipliers": (1, 2, 3, 4), "blocks": 3, "attention_resolutions": (16, 8)}
TINY = {"dim": 8, "multipliers": (1, 2), "blocks": 1, "attention_resolutions": (4,), "head_dim": 4}


def count(in_channels, out_channels, size, **options):
    network = UNet(out_channels=out_channels, **options)
    x = jax.ShapeDtypeStruct((1, size, size, in_channels), jnp.float32)
    time, label = jax.ShapeDtypeStruct((1,), jnp.float32), jax.ShapeDtypeStruct((1,), jnp.int32)
    shapes = jax.eval_shape(network.init, jax.random.key(0), x, time, label)
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.slow
def test_parameter_counts_equal_the_official_networks():
    # 24 bit planes, and 24 more for the self-conditioning estimate.
    assert count(48, 24, 32, **CIFAR10) == 52_017_432
    assert count(48, 24, 32, num_classes=10, **CIFAR10) == 52_027_672
    assert count(6, 3, 32, **CIFAR10) == 51_872_259  # continuous pixels
    assert count(48, 768, 32, out_size=1, **CIFAR10) == 52_159_488  # logits over 256 values
    assert count(48, 24, 64, num_classes=1000, **IMAGENET64) == 247_189_464


@pytest.fixture(scope="module")
def unet():
    network = UNet(out_channels=3, num_classes=4, dropout=0.5, **TINY)
    x = jax.random.normal(jax.random.key(1), (4, 8, 8, 6))
    time, label = jnp.array([0.0, 10, 500, 1000]), jnp.array([0, 1, 3, -1])
    params = jax.jit(network.init)(jax.random.key(0), x, time, label)
    # The output starts near 0; perturbed weights make it depend on every input.
    params = perturbed(params)
    return network, params, x, time, label


@pytest.mark.slow
def test_the_unet_output_has_the_right_shape_and_ignores_the_rest_of_the_batch(unet):
    network, params, x, time, label = unet
    output = jax.jit(network.apply)(params, x, time, label)
    assert output.shape == (4, 8, 8, 3)
    assert output.dtype == jnp.float32
    # An example's output does not depend on its batch.
    alone = jax.jit(network.apply)(params, x[1:2], time[1:2], label[1:2])
    np.testing.assert_allclose(alone[0], output[1], atol=1e-4)


def test_the_unet_output_starts_near_zero():
    network = UNet(out_channels=3, **TINY)
    x = jax.random.normal(jax.random.key(1), (2, 8, 8, 6))
    output, _ = jax.jit(network.init_with_output)(jax.random.key(0), x, jnp.zeros(2))
    assert jnp.abs(output).max() < 1e-3


@pytest.mark.slow
def test_time_and_label_affect_the_output_and_the_null_label_adds_nothing(unet):
    network, params, x, time, label = unet
    apply = jax.jit(network.apply)

    def output(time, label):
        return apply(params, x, time, label)

    base = output(time, label)
    assert not np.allclose(base, output(time + 100, label), atol=1e-3)
    assert not np.allclose(base[0], output(time, label.at[0].set(2))[0], atol=1e-3)
    without = jax.tree.map(jnp.copy, params)
    kernel = without["params"]["embedding"]["dense_out"]["kernel"]
    without["params"]["embedding"]["dense_out"]["kernel"] = kernel.at[-4:].set(0.0)
    np.testing.assert_allclose(base[3], apply(without, x, time, label)[3], atol=1e-6)


@pytest.mark.slow
def test_dropout_depends_on_an_examples_own_key(unet):
    network, params, x, time, label = unet
    keys = jax.random.split(jax.random.key(3), 4)
    apply = jax.jit(network.apply)
    dropped = apply(params, x, time, label, keys)
    assert not np.allclose(dropped, apply(params, x, time, label), atol=1e-3)
    # The same examples with the same keys, in another order.
    part = apply(params, x[::-1], time[::-1], label[::-1], keys[::-1])
    np.testing.assert_allclose(part[::-1], dropped, atol=1e-4)


def test_dropout_keeps_the_mean_and_differs_between_layers():
    class Two(nn.Module):
        @nn.compact
        def __call__(self, x, keys):
            return Dropout(0.3, name="first")(x, keys), Dropout(0.3, name="second")(x, keys)

    x = jnp.ones((10, 10_000))
    first, second = Two().apply({}, x, jax.random.split(jax.random.key(0), 10))
    assert float(first.mean()) == pytest.approx(1.0, abs=0.01)  # standard error 0.002
    assert float((first == 0).mean()) == pytest.approx(0.3, abs=0.01)
    assert float(((first == 0) & (second == 0)).mean()) == pytest.approx(0.09, abs=0.01)


@pytest.mark.slow
def test_the_transformer_attends_to_all_positions_and_distinguishes_them():
    network = Transformer(out_channels=5, length=7, dim=16, layers=2, num_classes=3, head_dim=8)
    x = jax.random.normal(jax.random.key(1), (2, 7, 10))
    time, label = jnp.array([0.0, 900.0]), jnp.array([0, -1])
    params = jax.jit(network.init)(jax.random.key(0), x, time, label)
    params = perturbed(params)
    apply = jax.jit(network.apply)
    output = apply(params, x, time, label)
    assert output.shape == (2, 7, 5)
    # Full attention: the first position attends to the last, and positions are distinguished.
    changed = apply(params, x.at[:, -1].add(1.0), time, label)
    assert not np.allclose(output[:, 0], changed[:, 0], atol=1e-4)
    permuted = apply(params, x[:, ::-1], time, label)[:, ::-1]
    assert not np.allclose(output, permuted, atol=1e-3)


@pytest.mark.slow
def test_each_position_is_conditioned_on_its_own_time():
    network = Transformer(out_channels=5, length=7, dim=16, layers=1, lagged=True, head_dim=8)
    x, time = jax.random.normal(jax.random.key(1), (2, 7, 10)), jnp.array([100.0, 900.0])
    params = jax.jit(network.init)(jax.random.key(0), x, time)
    params = perturbed(params)
    each = jnp.broadcast_to(time[:, None], (2, 7))
    output = network.apply(params, x, each)
    np.testing.assert_allclose(network.apply(params, x, time), output, atol=1e-6)
    # The times of two positions move in opposite directions: the mean stays the same, the output does not.
    other = network.apply(params, x, each.at[:, 0].add(50.0).at[:, 1].add(-50.0))
    assert not np.allclose(output[:, :2], other[:, :2], atol=1e-3)


FACTS = {"unet": {}, "transformer": {"length": 8}}


@pytest.mark.parametrize("name", ["unet", "transformer"])
@pytest.mark.slow
def test_bfloat16_is_close_to_float32(name):
    if name == "unet":
        section, x = sections.unet(**TINY), jax.random.normal(jax.random.key(1), (2, 8, 8, 6))
    else:
        section, x = sections.transformer(dim=16, layers=2), jax.random.normal(jax.random.key(1), (2, 8, 6))
    outputs = {}
    for dtype in ("float32", "bfloat16"):
        section.dtype = dtype
        network = make_network(section, out_channels=3, num_classes=0, **FACTS[name])
        params = jax.jit(network.init)(jax.random.key(0), x, jnp.ones(2))
        params = perturbed(params)
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(params))
        outputs[dtype] = jax.jit(network.apply)(params, x, jnp.ones(2))
        assert outputs[dtype].dtype == jnp.float32
    difference = jnp.abs(outputs["float32"] - outputs["bfloat16"]).mean() / jnp.abs(outputs["float32"]).mean()
    assert 0 < difference < 0.05  # eight bits of mantissa, through a dozen layers


@pytest.mark.parametrize("name", ["unet", "transformer"])
@pytest.mark.slow
def test_rematerialization_costs_a_forward_pass_and_keeps_the_gradients(name):
    if name == "unet":
        section, shape = sections.unet(**TINY, dropout=0.5), (2, 8, 8, 6)
    else:
        section, shape = sections.transformer(dim=16, layers=2, head_dim=8, dropout=0.5), (2, 8, 6)
    x, keys = jax.random.normal(jax.random.key(1), shape), jax.random.split(jax.random.key(3), 2)
    gradients, work, params = {}, {}, None
    for remat in (False, True):
        section.remat = remat
        network = make_network(section, out_channels=3, num_classes=0, **FACTS[name])
        if params is None:
            params = jax.jit(network.init)(jax.random.key(0), x, jnp.ones(2))
            params = perturbed(params)

        def loss(params, network=network):
            return jnp.mean(network.apply(params, x, jnp.ones(2), None, keys) ** 2)

        lowered = jax.jit(jax.grad(loss)).lower(params)
        gradients[remat], work[remat] = lowered.compile()(params), lowered.cost_analysis()["flops"]
    # Float32 sums in another order differ by about 1e-6 of the largest gradient.
    largest = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(gradients[False]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5 * largest), *gradients.values())
    assert 1.15 < work[True] / work[False] < 1.5  # a forward pass is a third of the total, mostly in the blocks


def test_the_backward_pass_of_attention_stores_no_attention_weights():
    positions = 32
    layer = Attention(16, 2, dtype=jnp.float32)
    x = jnp.ones((3, positions, 16))
    params = layer.init(jax.random.key(0), x)
    stored = jax.tree.leaves(jax.vjp(lambda params, x: layer.apply(params, x), params, x)[1])
    assert stored
    assert all(leaf.shape[-2:] != (positions, positions) for leaf in stored)


def test_the_sinusoid_equals_the_official_networks():
    # The angles are x / 10000^(2 (i // 2) / dim): the sines of even i, then the cosines of odd i.
    i = np.arange(8)
    angles = 2.0 / 10_000 ** (2 * (i // 2) / 8)
    expected = np.concatenate([np.sin(angles[0::2]), np.cos(angles[1::2])])
    np.testing.assert_allclose(sinusoid(jnp.array([2.0]), 8)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: UNet(3, dim=8, multipliers=(1, 1, 1, 1, 1), blocks=1, attention_resolutions=()), "cannot be halved 4"),
        (lambda: UNet(3, dim=200, multipliers=(1,), blocks=1, attention_resolutions=()), "200 channels cannot be norm"),
        (lambda: UNet(3, num_classes=2, **TINY), "pass a label per example"),
    ],
)
def test_incompatible_inputs_are_reported(call, message):
    with pytest.raises(UsageError, match=message):
        jax.eval_shape(call().init, jax.random.key(0), jnp.zeros((1, 8, 8, 6)), jnp.zeros(1))


def test_unknown_networks_and_fields_are_reported():
    with pytest.raises(UsageError, match="unknown network 'vit'; valid names are: unet, transformer"):
        make_network({"name": "vit", "dtype": "float32"}, out_channels=1, num_classes=0)
    with pytest.raises(UsageError, match="unknown dtype 'float16'"):
        make_network({"name": "unet", "dtype": "float16"}, out_channels=1, num_classes=0)
    with pytest.raises(UsageError, match=r"config.network: .*depth"):
        make_network({**sections.unet(), "depth": 3}, out_channels=1, num_classes=0)
    with pytest.raises(UsageError, match="2 channels cannot be normalized"):
        group_norm(2, dtype=jnp.float32, name="norm")
