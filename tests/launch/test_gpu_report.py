"""The GPU report, as far as it runs without a GPU."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest
from conftest import ROOT


@pytest.fixture
def gpu_report(launch_script):
    return launch_script("gpu_report")


def test_without_a_gpu_the_script_says_so(tmp_path):
    line = [sys.executable, "launch/gpu_report.py", "--out", str(tmp_path / "gpu.json")]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: jax found")
    assert "the report needs a GPU (or --trial, to try the script)" in done.stderr
    assert not (tmp_path / "gpu.json").exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("name", ["CIFAR-10", "ImageNet 64", "captions", "ImageNet 64 with latents"])
def test_cases_are_measured_at_full_size_on_data_of_their_shapes(gpu_report, name, dtype):
    case = gpu_report.CASES[name]
    config = gpu_report.resolved(case, dtype, trial=False)
    bench = gpu_report.random_bench(config, 1.0)
    assert {len(array) for array in bench.batch.values()} == {case.rows}
    assert bench.batch["image"].shape[1:] == (config.data.image_size, config.data.image_size, 3)
    assert all(array.min() >= 0 for array in bench.batch.values())
    assert config.network.dtype == dtype
    if config.encoder:
        assert config.encoder.dtype == dtype
        assert bench.batch["tokens"].max() < config.data.vocab_size
    assert gpu_report.resolved(case, dtype, trial=True).network.dim < config.network.dim


def test_the_report_is_written_after_each_part_and_ends_in_time(gpu_report, monkeypatch, tmp_path):
    out = tmp_path / "new" / "gpu.json"

    def fast():
        return {"training_examples_per_second": 30.0, "sampling_network_call_seconds": 0.5}

    def fails():
        assert json.loads(out.read_text())["parts"] == {"net": fast()}
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: too\nlarge")

    def other():
        return {"examples_per_second": 20.0, "network_call_seconds": 1.0}

    def stop():
        monkeypatch.setattr(gpu_report.time, "monotonic", lambda: np.inf)
        return {}

    def never():
        raise AssertionError

    parts = {"net": fast, "large": fails, "net, PyTorch": other, "last": stop, "late": never}
    monkeypatch.setattr(gpu_report, "parts", lambda seconds, trial: iter(parts.items()))
    monkeypatch.setattr(sys, "argv", ["gpu_report.py", "--out", str(out), "--trial"])
    gpu_report.main()
    report = json.loads(out.read_text())
    assert report["parts"]["large"] == {"error": "RESOURCE_EXHAUSTED: too large"}
    assert report["parts"]["late"] == {"skipped": "8.5 minutes had passed"}
    assert report["speed relative to PyTorch"] == {"net, training": 1.5, "net, network evaluation": 2.0}


def test_implementations_of_attention_are_measured_or_their_error_is_kept(gpu_report):
    found = gpu_report.measure_attention((2, 16, 2, 8), 0.01)
    assert found["xla, seconds"] > 0
    assert found["xla, weights recomputed, seconds"] > 0
    assert "cudnn, error" in found or found["cudnn, seconds"] > 0


@pytest.mark.slow
def test_losses_are_compared_on_two_devices(gpu_report, monkeypatch):
    found = gpu_report.compare_losses(gpu_report.CASES["CIFAR-10"], trial=True)
    assert abs(found["loss"] - 1.0) > 1e-4  # the network has an effect
    assert found["relative_difference"] < 1e-5
    # Here, both devices are CPUs, so a difference between them is simulated.
    factors = iter([1.01, 1.0])
    make_task = gpu_report.make_task

    def different(config):
        task = make_task(config)

        def loss(*arguments):
            value, aux = task.loss(*arguments)
            return next(factors) * value, aux

        return task._replace(loss=loss)

    monkeypatch.setattr(gpu_report, "make_task", different)
    wrong = gpu_report.compare_losses(gpu_report.CASES["CIFAR-10"], trial=True)
    assert wrong["relative_difference"] == pytest.approx(0.01, rel=1e-3)
