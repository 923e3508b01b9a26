"""What happens once, before the first computation: the compilation cache, CPU devices, joining other processes."""

import contextlib
import os
import sys
from glob import glob
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from bitdiff.runtime import heartbeat, launchers
from bitdiff.runtime.devices import describe_devices
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.processes import is_joined

_CPU_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # Linux: quota and period in microseconds
_MAX_CPU_DEVICES = 8  # each holds a copy of the training state
_PLATFORMS = {"cpu": "cpu", "gpu": "cuda,rocm", "tpu": "tpu"}  # as jax_platforms names them


def set_up_cache() -> None:
    """Enables the persistent compilation cache, in ~/.cache/bitdiff/xla unless JAX_COMPILATION_CACHE_DIR is set."""
    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "bitdiff" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def use_cores(divisor: int) -> None:
    """Presents the CPU as 2, 4 or 8 devices if it has that many cores, unless jax was configured otherwise.

    XLA's convolutions use one core each, so several devices are faster than one (launch/README.md). Must be
    called before jax initializes its backends.

    Args:
      divisor: a number of examples that the number of devices must divide; 0 if any number of devices will do.
    """
    forced = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if forced or jax.config.jax_num_cpu_devices >= 0:  # pyrefly: ignore[missing-attribute]
        return
    cores, devices = _cores(), _MAX_CPU_DEVICES
    while devices > cores or divisor % devices:
        devices //= 2
    with contextlib.suppress(RuntimeError):  # a config file has initialized the backends already
        jax.config.update("jax_num_cpu_devices", devices)


def _cores() -> int:
    """The number of cores this process may use, by its affinity and by its container's quota."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _CPU_QUOTA.read_text().split()
        return max(min(allowed, int(quota) // int(period)), 1)
    except (OSError, ValueError):  # there is no such file, or its quota is 'max'
        return allowed


def connect(cluster: launchers.Cluster | None, platform: str | None, *, heartbeat_seconds: int = 100) -> None:
    """Joins the processes of a run, and checks that the processes and devices found are those requested.

    Args:
      cluster: the processes, or None for a single process.
      platform: 'cpu', 'gpu' or 'tpu' if the run requires it; None accepts whatever jax finds, except the CPU of a
        machine with an accelerator that jax cannot use.
      heartbeat_seconds: how long a process may be silent before the others exit.

    Raises:
      UsageError: the processes or devices differ from those requested, or a process could not be reached.
    """
    if platform is not None and platform != "gpu":  # for 'gpu', jax decides between CUDA and ROCm
        jax.config.update("jax_platforms", _PLATFORMS[platform])
    if cluster is not None:
        _keep_stdout_for_python()
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
            jax.distributed.initialize(heartbeat_timeout_seconds=4 * heartbeat_seconds, **details)
        except (RuntimeError, ValueError) as error:
            if cluster.count is None and "coordinator_address should be defined" in str(error):
                return _check(None, platform)  # a TPU that is not part of a pod, as far as jax can tell
            reason = " ".join(str(error).split())[:300]
            raise UsageError(f"the processes described by {cluster.launcher} could not be joined: {reason}") from error
    _check(cluster, platform)
    if cluster is not None:
        heartbeat.start(heartbeat_seconds)


def _check(cluster: launchers.Cluster | None, platform: str | None) -> None:
    """Checks that the devices and processes found are those requested."""
    try:
        found = jax.default_backend()
    except RuntimeError as error:
        raise UsageError(f"jax cannot use the requested devices: {' '.join(str(error).split())[:300]}") from error
    if platform is not None and found != platform:
        raise UsageError(f"--platform is {platform}, but jax finds only: {describe_devices()}")
    if platform is None and found == "cpu" and not os.environ.get("JAX_PLATFORMS"):
        unused = _unused_accelerator()
        if unused:
            raise UsageError(
                f"this machine has {unused}, but jax finds only its CPU: install jax for it, or pass --platform cpu"
            )
    if jax.process_count() > 1 and not is_joined():
        raise UsageError(
            f"this is one of {jax.process_count()} hosts, but they could not be joined; pass --coordinator, "
            "--num_processes and --process_id"
        )
    if cluster is not None:
        if cluster.count not in (None, jax.process_count()):
            raise UsageError(f"{cluster.count} processes were requested, but {jax.process_count()} were joined")
        own = np.array([jax.local_device_count(), list(_PLATFORMS).index(found)])
        gathered = multihost_utils.process_allgather(own)
        if (gathered != gathered[0]).any():
            raise UsageError(f"the processes have different devices: (number, platform) {gathered.tolist()}")


def _keep_stdout_for_python() -> None:
    """Discards output from C++: on a CPU, Gloo prints a line per device for each new group of devices."""
    with contextlib.suppress(OSError):  # stdout is closed
        sys.stdout.flush()
        python = os.dup(1)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.close(nowhere)
        sys.stdout = os.fdopen(python, "w", buffering=1)


def _visible_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name not in ("", "-1")])
    return len(glob("/dev/nvidia[0-9]*")) or len(glob("/dev/dri/renderD*")) * bool(glob("/dev/kfd"))


def _unused_accelerator() -> str:
    """The name of an accelerator of this machine for which jax could be installed; '' if there is none."""
    if glob("/dev/nvidia[0-9]*") and os.environ.get("CUDA_VISIBLE_DEVICES") not in ("", "-1"):
        return "an NVIDIA GPU"
    if glob("/dev/kfd"):
        return "an AMD GPU"
    return "a TPU" if has_tpu() else ""


def has_tpu() -> bool:
    """Whether this machine has a TPU; does not initialize jax's backends."""
    return bool(glob("/dev/accel[0-9]*") or (glob("/dev/vfio/[0-9]*") and find_spec("libtpu")))
