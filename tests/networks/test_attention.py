"""Tests of attention against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental.pallas import tpu as pltpu

from bitdiff.networks import attention


def arrays(queries: int, keys: int) -> tuple[jax.Array, ...]:
    """Query, key, value and a cotangent of two examples with two heads of eight channels."""
    rng = np.random.default_rng(0)
    lengths = (queries, keys, keys, queries)
    return tuple(jnp.asarray(rng.normal(size=(2, length, 2, 8)), jnp.float32) for length in lengths)


def by_definition(query: jax.Array, key: jax.Array, value: jax.Array) -> jax.Array:
    """softmax(q k^T / sqrt(d)) v."""
    logits = jnp.einsum("blhd,bmhd->bhlm", query, key) / np.sqrt(query.shape[-1])
    return jnp.einsum("bhlm,bmhd->blhd", jax.nn.softmax(logits), value)


@pytest.mark.parametrize(("queries", "keys"), [(256, 256), (200, 300)], ids=["whole blocks", "padded"])
def test_the_fused_kernel_equals_the_definition(queries, keys, monkeypatch):
    monkeypatch.setattr(attention, "_LARGEST_BLOCK", 128)  # so that there are several blocks
    *inputs, cotangent = arrays(queries, keys)
    output, gradients = jax.vjp(by_definition, *inputs)
    with pltpu.force_tpu_interpret_mode():
        fused_output, fused_gradients = jax.vjp(attention.fused, *inputs)
        found = fused_gradients(cotangent)
    # Both accumulate in float32; sums of 300 terms of order one differ by a few units in the last place.
    np.testing.assert_allclose(fused_output, output, atol=1e-5)
    for one, other in zip(found, gradients(cotangent), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_long_sequences_attend_like_short_ones_on_this_platform(monkeypatch):
    *inputs, cotangent = arrays(96, 80)

    def results():
        output, gradients = jax.vjp(jax.jit(attention.attend), *inputs)
        return output, *gradients(cotangent)

    short = results()
    jax.clear_caches()
    monkeypatch.setattr(attention, "_LONG", 64)
    assert "flash" in str(jax.make_jaxpr(attention.attend)(*inputs))
    for one, other in zip(results(), short, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("length", "expected"), [(512, (512, 512)), (1024, (1024, 1024)), (1600, (1792, 896))])
def test_padding(length, expected):
    assert attention._padding(length) == expected
