"""Devices, processes and pmap: the only file that knows of them."""

import contextlib
import json
import os
import uuid
import zlib
from collections.abc import Callable, Iterable
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from bitdiff import launchers
from bitdiff.errors import UsageError

_AXIS = "devices"
_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux: quota and period in microseconds
_MOST_CPU_DEVICES = 8  # each holds a copy of the training state
_PLATFORMS = {"cpu": "cpu", "gpu": "cuda,rocm", "tpu": "tpu"}  # as jax_platforms names them


def set_up() -> None:
    """Turns the persistent compilation cache on, in ~/.cache/bitdiff/xla unless jax is told another place."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "bitdiff" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def use_cores(shared: int) -> None:
    """Makes the CPU 2, 4 or 8 devices where it has so many cores, unless jax is told another number.

    XLA's convolutions use one core each, so that two devices train a U-Net in 0.6 to 0.8 of the time of one. To be
    called before jax has looked for devices.

    Args:
      shared: examples that the devices must be able to share evenly; 0 if any number will do.
    """
    told = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if told or jax.config.jax_num_cpu_devices >= 0:
        return
    cores, devices = _cores(), _MOST_CPU_DEVICES
    while devices > cores or shared % devices:
        devices //= 2
    with contextlib.suppress(RuntimeError):  # a config file has looked for devices already
        jax.config.update("jax_num_cpu_devices", devices)


def _cores() -> int:
    """Cores that this process may use, by its affinity and by the quota of its container."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return max(min(allowed, int(quota) // int(period)), 1)
    except (OSError, ValueError):  # there is no such file, or its quota is 'max'
        return allowed


def connect(cluster: launchers.Cluster | None, platform: str | None, *, heartbeat_seconds: int = 100) -> None:
    """Joins the processes of a run, and checks that what was found is what was asked for.

    Args:
      cluster: the processes, or None for one on its own.
      platform: 'cpu', 'gpu' or 'tpu' if the run must be there; None takes what there is, but not the CPU of a
        machine that has an accelerator which jax cannot use.
      heartbeat_seconds: after which silence of a process the others end.

    Raises:
      UsageError: other processes or devices than those asked for were found, or none could be reached.
    """
    if platform is not None and platform != "gpu":  # of 'gpu' jax finds out which
        jax.config.update("jax_platforms", _PLATFORMS[platform])
    if cluster is not None:
        jax.config.update("jax_enable_preemption_service", False)  # it swallows SIGTERM; see interrupts.py
        gpus = _visible_gpus() if platform != "cpu" else 0
        details: dict[str, Any] = {}
        if cluster.count is not None:
            details = {
                "coordinator_address": cluster.coordinator,
                "num_processes": cluster.count,
                "process_id": cluster.index,
                "local_device_ids": launchers.local_devices(cluster, gpus) if gpus else None,
                "cluster_detection_method": "deactivate",  # jax's own would give each process one GPU at most
            }
        try:
            jax.distributed.initialize(heartbeat_timeout_seconds=heartbeat_seconds, **details)
        except (RuntimeError, ValueError) as error:
            if cluster.count is None and "coordinator_address should be defined" in str(error):
                return _check(None, platform)  # a TPU that is no host of a pod, as far as jax can find out
            reason = " ".join(str(error).split())[:300]
            raise UsageError(f"the processes that {cluster.launcher} describe could not be joined: {reason}") from error
    _check(cluster, platform)


def _check(cluster: launchers.Cluster | None, platform: str | None) -> None:
    """Checks that the devices and processes found are those asked for."""
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        raise UsageError(f"jax cannot use the devices asked for: {' '.join(str(error).split())[:300]}") from error
    if platform is not None and found != platform:
        raise UsageError(f"--platform is {platform}, but jax finds only: {describe_devices()}")
    if platform is None and found == "cpu" and not os.environ.get("JAX_PLATFORMS"):
        unused = _unused_accelerator()
        if unused:
            raise UsageError(
                f"this machine has {unused}, but jax finds only its CPU: install jax for it, or say --platform cpu"
            )
    if jax.process_count() > 1 and not is_joined():
        raise UsageError(f"this is one of {jax.process_count()} hosts, but they could not be joined; say which it is")
    if cluster is not None:
        if cluster.count not in (None, jax.process_count()):
            raise UsageError(f"{cluster.count} processes were asked for, {jax.process_count()} were joined")
        mine = np.array([jax.local_device_count(), list(_PLATFORMS).index(found)])
        everyones = multihost_utils.process_allgather(mine)
        if (everyones != everyones[0]).any():
            raise UsageError(f"the processes have different devices: (number, platform) {everyones.tolist()}")


def _visible_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name not in ("", "-1")])
    return len(glob("/dev/nvidia[0-9]*")) or len(glob("/dev/dri/renderD*")) * bool(glob("/dev/kfd"))


def _unused_accelerator() -> str:
    """In words, an accelerator of this machine that jax could be installed for; '' where there is none."""
    if glob("/dev/nvidia[0-9]*") and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        return "an NVIDIA GPU"
    if glob("/dev/kfd"):
        return "an AMD GPU"
    return "a TPU" if has_tpu() else ""


def has_tpu() -> bool:
    """Whether this machine has a TPU; asks no device."""
    return bool(glob("/dev/accel[0-9]*") or (glob("/dev/vfio/[0-9]*") and find_spec("libtpu")))


def describe_devices() -> str:
    """What jax found, e.g. '4 x cpu' or '8 x NVIDIA H100 in 2 processes'."""
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    return f"{jax.device_count()} x {jax.devices()[0].device_kind}{processes}"


def is_joined() -> bool:
    """Whether this is one of several processes; asks no device."""
    return jax.distributed.is_initialized()


def is_main() -> bool:
    """Whether this process is the one that writes logs and pictures and prints."""
    return jax.process_index() == 0


def processes() -> tuple[int, int]:
    """Which process this is, and of how many."""
    return jax.process_index(), jax.process_count()


def wait_for_all(what: str) -> None:
    """Returns once every process has come here; `what` is the same in all."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)


def agree(what: str, value: Any) -> None:
    """Checks that a value, plain as JSON, is the same in all processes, as it must be where they do one thing.

    Raises:
      UsageError: it differs, in every process.
    """
    if jax.process_count() > 1:
        digest = np.uint32(zlib.crc32(json.dumps(value, sort_keys=True).encode()))
        everyones = np.asarray(multihost_utils.process_allgather(digest))
        others = np.flatnonzero(everyones != everyones[0]).tolist()
        if others:
            raise UsageError(f"the processes disagree about {what}: process 0 has another than {others}")


def check_shared(folder: Path) -> None:
    """Checks that all processes see the folder of process 0.

    Raises:
      UsageError: one does not, in every process.
    """
    if jax.process_count() == 1:
        return
    token = folder / ".shared"
    written = uuid.uuid4().hex
    if is_main():
        token.write_text(written)
    wait_for_all("the folder is marked")
    seen = token.read_text() if token.exists() else "nothing"
    wait_for_all("the mark is read")
    if is_main():
        token.unlink()
    try:
        agree("the folder", seen)
    except UsageError as error:
        raise UsageError(
            f"not all processes see the same folder {folder}; it must be on a shared file system"
        ) from error


def any_process(value: bool) -> bool:
    """Whether something holds in any of the processes."""
    return bool(np.any(multihost_utils.process_allgather(np.bool_(value)))) if jax.process_count() > 1 else value


def my_share(count: int) -> range:
    """The contiguous block of 0 to count - 1 that is this process's."""
    index, total = processes()
    return range(count * index // total, count * (index + 1) // total)


def gather(tree: Any) -> Any:
    """The rows of all processes, in their order: arrays [rows here, ...] -> NumPy arrays [all rows, ...] everywhere.

    The arrays may have any type, and any number of rows in each process; not a bit of them is changed.
    """
    if jax.process_count() == 1:
        return tree

    def gather_array(rows):
        rows = np.ascontiguousarray(rows)
        width = rows.dtype.itemsize * int(np.prod(rows.shape[1:]))
        counts = multihost_utils.process_allgather(np.int32(len(rows)))
        padded = np.zeros((max(counts), width), np.uint8)  # bytes: jax would make float64 float32
        padded[: len(rows)] = rows.view(np.uint8).reshape(len(rows), width)
        everyones = np.asarray(multihost_utils.process_allgather(padded))
        joined = np.concatenate([part[:count] for part, count in zip(everyones, counts, strict=True)])
        return joined.reshape(-1).view(rows.dtype).reshape(-1, *rows.shape[1:])

    return jax.tree.map(gather_array, tree)


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
    """The next batch size that the devices of this process can share evenly."""
    return -(-batch_size // jax.local_device_count()) * jax.local_device_count()


def local_batch(batch_size: int) -> int:
    """This process's part of a batch over all devices, rounded up so that its devices can share it evenly."""
    return round_up(-(-batch_size // jax.process_count()))


def replicate(tree: Any) -> Any:
    """Places arrays on every local device, without a device axis."""
    return jax.device_put(tree, _replicated(jax.local_devices()))


def abstract_replicated(tree: Any) -> Any:
    """The shapes of `tree`, to be restored on the devices of all processes; see `to_local`."""
    sharding = _replicated(jax.devices())
    return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=sharding), tree)


def to_global(tree: Any) -> Any:
    """Replicated local arrays as what can be saved: of one process the first device's, of several those of all.

    Of one process's devices each would have a part of every array cut out and saved, which takes longer than it saves.
    """
    if jax.process_count() == 1:
        return jax.tree.map(lambda a: a.addressable_data(0), tree)
    return multihost_utils.host_local_array_to_global_array(tree, _mesh(jax.devices()), PartitionSpec())


def to_local(tree: Any) -> Any:
    """Arrays of all processes together as replicated local ones."""
    if jax.process_count() == 1:
        return tree
    return multihost_utils.global_array_to_host_local_array(tree, _mesh(jax.devices()), PartitionSpec())


def split(batch: Any) -> Any:
    """Arrays [B, ...] -> [local devices, B / local devices, ...]."""
    devices = jax.local_device_count()
    return jax.tree.map(lambda a: np.reshape(a, (devices, len(a) // devices, *a.shape[1:])), batch)


def join(batch: Any) -> Any:
    """The inverse of `split`: [local devices, B, ...] -> NumPy arrays [local devices * B, ...]."""
    return jax.tree.map(lambda a: np.reshape(a, (-1, *a.shape[2:])), jax.device_get(batch))


def pmap_step(step: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[Any, Any], tuple[Any, Any]]:
    """Maps step(state, batch) -> (state, metrics) over the devices of all processes.

    The state is replicated and donated; each process gives its own rows of the batch, as `split` makes them.
    """
    return jax.pmap(step, axis_name=_AXIS, in_axes=(None, 0), out_axes=(None, None), donate_argnums=0)


def pmap_mean(measure: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Maps measure(params, batch) over the devices of all processes; what it returns is the same on all."""
    return jax.pmap(measure, axis_name=_AXIS, in_axes=(None, 0), out_axes=None)


def pmap_sample(sample: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Maps sample(params, batch) -> outputs over this process's devices, without waiting for other processes."""
    return jax.pmap(sample, axis_name=_AXIS, in_axes=(None, 0), out_axes=0, devices=jax.local_devices())


def mean(tree: Any) -> Any:
    """The mean over all devices of all processes; within `pmap_step` and `pmap_mean` only."""
    return jax.lax.pmean(tree, _AXIS)


def largest(tree: Any) -> Any:
    """The maximum over all devices of all processes; within `pmap_step` only."""
    return jax.lax.pmax(tree, _AXIS)


def _mesh(devices: Iterable[jax.Device]) -> Mesh:
    return Mesh(np.array(list(devices)), (_AXIS,))


def _replicated(devices: Iterable[jax.Device]) -> NamedSharding:
    return NamedSharding(_mesh(devices), PartitionSpec())
