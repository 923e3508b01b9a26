import json

import pytest

from bitdiff import benchmark
from bitdiff.configs import mixture
from bitdiff.evaluation import speed_reports
from bitdiff.runtime.errors import UsageError


@pytest.mark.slow
def test_a_benchmark_measures_its_parts_and_compares_reports(command, tmp_path):
    out = tmp_path / "bench.json"
    small = ["--config.network.dim=16", "--config.network.layers=1", "--config.sample.steps=4"]
    small += ["--config.optimizer.name=adam", "--config.diffusion.trained_guidance=3"]
    arguments = ["--config", "configs/mixture.py", *small, "--seconds", 0.1, "--parts", "training,sampling,data,start"]
    code, output = command("benchmark", *arguments, "--out", out)
    assert code == 0, output
    parts = json.loads(out.read_text())["parts"]
    assert set(parts) == {"training", "sampling", "data", "start"}
    assert all(value > 0 for part in parts.values() for value in part.values())
    training = parts["training"]
    assert training["fraction_of_peak"] == pytest.approx(
        training["gflop_per_step_and_device"] * training["steps_per_second"] / training["peak_gflop_per_second"]
    )
    # The compiler also counts operations other than products and convolutions, but omits multiplications by padding.
    assert 0.5 < training["gflop_per_step_and_device_by_xla"] / training["gflop_per_step_and_device"] < 2
    assert parts["data"]["over_training"] == pytest.approx(
        parts["data"]["batches_per_second"] / training["steps_per_second"]
    )
    code, output = command("benchmark", "--compare", f"{out},{out}")
    assert code == 0
    assert "training.steps_per_second" in output
    assert "x 1" in output


def test_an_interrupted_benchmark_leaves_what_it_has_measured(tmp_path, monkeypatch):
    def interrupted(bench):
        raise KeyboardInterrupt

    monkeypatch.setitem(benchmark.PARTS, "data", lambda bench: {"batches_per_second": 4.0})
    monkeypatch.setitem(benchmark.PARTS, "training", interrupted)
    out = tmp_path / "bench.json"
    with pytest.raises(KeyboardInterrupt):
        benchmark.measure(benchmark.Request(mixture.get_config(), [], ["data", "training"], 0.1, out))
    assert speed_reports.read_report(out)["parts"] == {"data": {"batches_per_second": 4.0}}


def test_ratios_cover_only_what_both_reports_measured():
    before = {"parts": {"data": {"batches_per_second": 4.0}, "training": {"steps_per_second": 3.0}}}
    after = {"parts": {"data": {"batches_per_second": 6.0}}}
    assert speed_reports.ratios(before, after) == {"data.batches_per_second": 1.5}


@pytest.mark.slow
def test_bad_input_is_reported(command, tmp_path):
    code, output = command("benchmark", "--config", "configs/digits.py", "--parts", "speed")
    assert code == 2
    assert "unknown part (--parts) 'speed'; valid names are: training, sampling" in output
    (tmp_path / "other.json").write_text("{}")
    for name in ("missing.json", "other.json"):
        with pytest.raises(UsageError, match=f"{name} is not a report of bitdiff.benchmark"):
            speed_reports.read_report(tmp_path / name)
