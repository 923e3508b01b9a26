"""Devices and pmap: dividing batches, replicating states, and mapping functions over the devices."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bitdiff.runtime.errors import UsageError

_AXIS = "devices"


def describe_devices() -> str:
    """What jax found, e.g. '4 x cpu' or '8 x NVIDIA H100 in 2 processes'."""
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}{processes}"


def per_device(batch_size: int, field: str) -> int:
    """The number of examples of a global batch that one device processes.

    Raises:
      UsageError: the batch cannot be divided evenly; `field` names it in the message.
    """
    devices = jax.device_count()
    if batch_size < 1 or batch_size % devices:
        raise UsageError(f"{field} is {batch_size}; it must be a positive multiple of the {devices} devices")
    return batch_size // devices


def round_up(batch_size: int) -> int:
    """The smallest multiple of this process's devices that is at least batch_size."""
    return -(-batch_size // jax.local_device_count()) * jax.local_device_count()


def local_batch(batch_size: int) -> int:
    """This process's part of a global batch, rounded up to a multiple of its devices."""
    return round_up(-(-batch_size // jax.process_count()))


def replicate(tree: Any) -> Any:
    """Places arrays on every local device, without a device axis."""
    return jax.device_put(tree, _replicated(jax.local_devices()))


def abstract_replicated(tree: Any) -> Any:
    """The shapes of `tree`, to be restored on the devices of all processes; see `to_local`."""
    sharding = _replicated(jax.devices())
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)


def to_global(tree: Any) -> Any:
    """Converts replicated local arrays into arrays that Orbax can save.

    With one process, that is the first device's copy: Orbax would cut every replicated array into one slice per
    device, which takes longer than writing it. With several, the result is arrays over the devices of all processes.
    """
    if jax.process_count() == 1:
        return jax.tree.map(lambda a: a.addressable_data(0), tree)
    return multihost_utils.host_local_array_to_global_array(tree, _mesh(jax.devices()), PartitionSpec())


def to_local(tree: Any) -> Any:
    """Converts arrays over the devices of all processes into replicated local ones."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.global_array_to_host_local_array(tree, _mesh(jax.devices()), PartitionSpec())


def split(batch: Any) -> Any:
    """Arrays [B, ...] -> [local devices, B / local devices, ...]."""
    devices = jax.local_device_count()
    return jax.tree.map(lambda a: np.reshape(a, (devices, len(a) // devices, *a.shape[1:])), batch)


def join(batch: Any) -> Any:
    """The inverse of `split`: [local devices, B, ...] -> NumPy arrays [local devices * B, ...]."""
    return jax.tree.map(lambda a: np.reshape(a, (a.shape[0] * a.shape[1], *a.shape[2:])), jax.device_get(batch))


def pmap_step(
    step: Callable[[Any, Any], tuple[Any, Any]], on: Sequence[Any] | None = None
) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Maps step(state, batch) -> (state, metrics) over the devices of all processes, or over the devices `on`.

    The state is replicated and donated; each process passes its own rows of the batch, as returned by `split`.
    """
    return jax.pmap(step, axis_name=_AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0, devices=on)


def pmap_mean(measure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Maps measure(params, batch) over the devices of all processes; its result is the same on all of them."""
    return jax.pmap(measure, axis_name=_AXIS, in_axes=(None, 0), out_axes=None)


def pmap_sample(sample: Callable[[Any, Any], Any], on: Sequence[Any] | None = None) -> Callable[[Any, Any], Any]:
    """Maps sample(params, batch) -> outputs over this process's devices, or over the devices `on`.

    Processes sample independently of each other.
    """
    return jax.pmap(sample, axis_name=_AXIS, in_axes=(None, 0), out_axes=0, devices=on or jax.local_devices())


def mean(tree: Any) -> Any:
    """The mean over all devices of all processes; only within `pmap_step` and `pmap_mean`."""
    return jax.lax.pmean(tree, _AXIS)


def largest(tree: Any) -> Any:
    """The maximum over all devices of all processes; only within `pmap_step`."""
    return jax.lax.pmax(tree, _AXIS)


def _mesh(devices: Iterable[jax.Device]) -> Mesh:
    return Mesh(np.array(list(devices)), (_AXIS,))


def _replicated(devices: Iterable[jax.Device]) -> NamedSharding:
    return NamedSharding(_mesh(devices), PartitionSpec())
