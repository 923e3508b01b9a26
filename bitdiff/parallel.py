"""Devices, hosts and pmap: the only file that knows of them."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bitdiff.errors import UsageError

_AXIS = "devices"


def set_up() -> None:
    """Turns the persistent compilation cache on, in ~/.cache/bitdiff/xla unless jax is told another place."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "bitdiff" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def describe_devices() -> str:
    """What jax found, e.g. '4 x cpu'."""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}"


def per_device(batch_size: int, field: str) -> int:
    """The share of a global batch that one device takes.

    Raises:
      UsageError: the batch cannot be divided evenly; `field` names it in the message.
    """
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        raise UsageError(f"{field} is {batch_size}; it must be a positive multiple of the {devices} devices")
    return batch_size // devices


def round_up(batch_size: int) -> int:
    """The next batch size that all devices can share evenly."""
    return -(-batch_size // jax.device_count()) * jax.device_count()


def replicate(tree: Any) -> Any:
    """Places arrays on every local device, without a device axis."""
    return jax.device_put(tree, _replicated())


def abstract_replicated(tree: Any) -> Any:
    """The shapes of `tree`, to be restored as `replicate` would place them."""
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=_replicated()), tree)


def split(batch: Any) -> Any:
    """Arrays [B, ...] -> [local devices, B / local devices, ...]."""
    devices = jax.local_device_count()
    return jax.tree.map(lambda a: np.reshape(a, (devices, len(a) // devices, *a.shape[1:])), batch)


def join(batch: Any) -> Any:
    """The inverse of `split`: [local devices, B, ...] -> NumPy arrays [local devices * B, ...]."""
    return jax.tree.map(lambda a: np.reshape(a, (-1, *a.shape[2:])), jax.device_get(batch))


def pmap_step(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Maps step(state, batch) -> (state, metrics) over devices: state replicated and donated, batch split."""
    return jax.pmap(step, axis_name=_AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0)


def pmap_sample(sample: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Maps sample(params, batch) -> outputs over devices: params replicated, batch and outputs split."""
    return jax.pmap(sample, axis_name=_AXIS, in_axes=(None, 0), out_axes=0)


def mean(tree: Any) -> Any:
    """The mean over all devices; within `pmap_step` only."""
    return jax.lax.pmean(tree, _AXIS)


def global_indices(batch_size: int) -> jax.Array:
    """Which examples of the global batch this device holds, int32 [batch_size]; within `pmap_step` only."""
    return jax.lax.axis_index(_AXIS) * batch_size + jnp.arange(batch_size)


def _replicated() -> NamedSharding:
    return NamedSharding(Mesh(np.array(jax.local_devices()), (_AXIS,)), PartitionSpec())
