"""What fits on a device, and the errors for what does not."""

import jax
import jax.numpy as jnp
import pytest

from bitdiff.runtime import memory
from bitdiff.runtime.errors import UsageError


def test_the_memory_of_cpu_devices_is_that_of_the_machine():
    total = memory.device_memory() * jax.local_device_count()
    assert 2**28 < total < 2**45


def test_what_cannot_fit_is_refused_without_computing_it():
    size = memory.device_memory() // 4 * 3  # floats: three times the memory

    def huge(x):
        return jax.jit(lambda x: jnp.sum(jnp.broadcast_to(x, (size,)) ** 2))(x)

    with pytest.raises(UsageError, match=r"the loss needs an array of .* GiB, but a device has .* GiB; lower it"):
        memory.check_trace(huge, jnp.float32(1.0), what="the loss", advice="lower it")
    memory.check_trace(lambda x: x + 1, jnp.float32(1.0), what="the loss", advice="lower it")
    with pytest.raises(UsageError, match="a state of"):
        memory.check_fits(2 * memory.device_memory(), "training needs a state", "lower it")


def test_the_bytes_of_a_tree():
    tree = {"a": jnp.zeros((3, 4)), "b": jax.ShapeDtypeStruct((5,), jnp.int8)}
    assert memory.tree_bytes(tree) == 48 + 5


@pytest.mark.parametrize("error", [jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory"), MemoryError()])
def test_running_out_of_memory_gives_advice(error):
    with (
        pytest.raises(UsageError, match=r"out of memory \(.*\); lower the batch size"),
        memory.advised("lower the batch size"),
    ):
        raise error


def test_other_errors_of_jax_are_not_changed():
    with pytest.raises(jax.errors.JaxRuntimeError, match="INTERNAL"), memory.advised("x"):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")
