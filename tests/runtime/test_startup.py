"""Startup and process handling, as far as one process can test them; commands/test_two_processes.py runs two."""

import os

import jax
import numpy as np
import pytest

from bitdiff.cli import command as command_line
from bitdiff.runtime import devices, launchers, processes, startup
from bitdiff.runtime.errors import UsageError


def test_the_cpu_is_not_used_silently_if_there_is_an_accelerator(monkeypatch):
    monkeypatch.delenv("JAX_PLATFORMS", raising=False)
    monkeypatch.setattr(startup, "_unused_accelerator", lambda: "an NVIDIA GPU")
    with pytest.raises(UsageError, match="this machine has an NVIDIA GPU, but jax finds only its CPU"):
        startup.connect(None, None)
    startup.connect(None, "cpu")  # explicitly requested
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    startup.connect(None, None)


@pytest.mark.parametrize(
    ("reason", "expected", "shown"),
    [
        ("UNAVAILABLE: Socket closed by peer", 3, "another process of the run exited"),
        ("INTERNAL: ptxas exited with non-zero error code", 1, "ptxas exited"),
    ],
)
def test_only_connection_errors_are_attributed_to_another_process(monkeypatch, capsys, reason, expected, shown):
    for module, name in (
        (command_line, "_connect"),
        (command_line, "_set_up_logging"),
        (command_line, "_quiet_late_callbacks"),
        (command_line.interrupts, "interrupt_promptly"),
        (startup, "set_up_cache"),
    ):
        monkeypatch.setattr(module, name, lambda *arguments: None)
    monkeypatch.setattr(processes, "is_joined", lambda: True)

    def fail():
        raise jax.errors.JaxRuntimeError(reason)

    assert command_line._guarded(fail, lambda: 0, ["command"], False) == expected
    error = capsys.readouterr().err
    assert shown in error
    assert ("another process" in error) == (expected == 3)


@pytest.mark.slow
def test_an_unavailable_platform_is_an_error(command):
    code, output = command("sample", "--platform", "gpu", "--workdir", "w")
    assert code == 2
    assert "error: --platform is gpu, but jax finds only: 1 x cpu" in output
    code, output = command("sample", "--platform", "tpu", "--workdir", "w")
    assert code == 2
    assert "error: jax cannot use the requested devices" in output
    assert "Traceback" not in output


def test_accelerators_that_jax_does_not_use_are_detected(monkeypatch):
    present = set()
    monkeypatch.setattr(startup, "glob", lambda pattern: [p for p in present if p.startswith(pattern.split("[")[0])])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert startup._unused_accelerator() == ""
    present.add("/dev/nvidia0")
    assert startup._unused_accelerator() == "an NVIDIA GPU"
    assert startup._visible_gpus() == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert startup._unused_accelerator() == ""
    assert startup._visible_gpus() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert startup._visible_gpus() == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,3")
    assert startup._visible_gpus() == 2
    present.clear()
    present.add("/dev/accel0")
    assert startup._unused_accelerator() == "a TPU"


@pytest.mark.slow
def test_an_incomplete_cluster_is_an_error(command):
    code, output = command("sample", "--coordinator", "localhost:1", "--num_processes", 2, "--workdir", "w")
    assert code == 2
    assert "all of --coordinator, --num_processes and --process_id are required" in output


def test_process_ranges_cover_everything_once(monkeypatch):
    for total, count in ((1, 7), (3, 7), (4, 2)):
        monkeypatch.setattr(jax, "process_count", lambda total=total: total)
        covered = []
        for index in range(total):
            monkeypatch.setattr(jax, "process_index", lambda index=index: index)
            covered += list(processes.own_range(count))
        assert covered == list(range(count))


def test_batches_are_split_evenly(monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    monkeypatch.setattr(jax, "local_device_count", lambda: 4)
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    assert devices.per_device(16, "batch") == 2
    assert devices.local_batch(16) == 8
    assert devices.local_batch(17) == 12
    with pytest.raises(UsageError, match="batch is 12; it must be a positive multiple of the 8 devices"):
        devices.per_device(12, "batch")
    x = np.arange(24).reshape(8, 3)
    assert devices.split(x).shape == (4, 2, 3)
    np.testing.assert_array_equal(devices.join(devices.split(x)), x)


def test_a_cluster_must_match_the_processes_that_joined(monkeypatch):
    calls = {}
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: calls.update(options))
    cluster = launchers.Cluster("h:1", 2, 1, 0, 1, "Slurm")
    with pytest.raises(UsageError, match="2 processes were requested, but 1 were joined"):
        startup.connect(cluster, "cpu")
    assert calls["cluster_detection_method"] == "deactivate"
    assert (calls["coordinator_address"], calls["num_processes"], calls["process_id"]) == ("h:1", 2, 1)

    def fail(**options):
        raise RuntimeError("DEADLINE_EXCEEDED: nobody there")

    monkeypatch.setattr(jax.distributed, "initialize", fail)
    with pytest.raises(UsageError, match="the processes described by Slurm could not be joined: DEADLINE_EXCEEDED"):
        startup.connect(cluster, "cpu")


def test_a_single_tpu_host_is_not_a_pod(monkeypatch):
    def initialize(**options):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
    pod = launchers.find({}, tpu=True)
    startup.connect(pod, None)
    # Hosts of a pod see each other's devices even if they have not joined.
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(UsageError, match="this is one of 4 hosts, but they could not be joined"):
        startup.connect(pod, None)


@pytest.mark.parametrize(
    ("cores", "shared", "devices"),
    [(1, 64, 1), (2, 64, 2), (2, 63, 1), (6, 64, 4), (12, 64, 8), (12, 100, 4), (64, 0, 8), (64, 512, 8)],
)
def test_the_cpu_becomes_as_many_devices_as_cores_can_split_the_batch(monkeypatch, cores, shared, devices):
    updates = {}
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    monkeypatch.setattr(startup, "_cores", lambda: cores)
    monkeypatch.setattr(jax.config, "update", updates.__setitem__)
    startup.use_cores(shared)
    assert updates == {"jax_num_cpu_devices": devices}


@pytest.mark.parametrize(("quota", "cores"), [("max 100000", 8), ("250000 100000", 2), ("50000 100000", 1), ("", 8)])
def test_cores_are_limited_by_the_containers_quota(monkeypatch, tmp_path, quota, cores):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setattr(startup, "_CPU_QUOTA", tmp_path / "cpu.max")
    assert startup._cores() == 8
    (tmp_path / "cpu.max").write_text(quota)
    assert startup._cores() == cores


def test_devices_that_a_config_initialized_are_kept(monkeypatch):
    monkeypatch.delenv("XLA_FLAGS", raising=False)
    devices = jax.devices()  # from here on jax refuses to change their number
    startup.use_cores(64)
    assert jax.devices() == devices


def test_a_device_count_set_in_xla_flags_is_kept(monkeypatch):
    def refuse(*setting):
        raise AssertionError(setting)

    monkeypatch.setattr(jax.config, "update", refuse)
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=3")
    startup.use_cores(64)
