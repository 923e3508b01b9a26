"""The commands as a user runs them: flags, exit codes, signals, several devices."""

import json
import signal
import time

import numpy as np
import pytest
from conftest import TINY_FLAGS
from PIL import Image

TRAIN = ["--config", "configs/digits.py", *TINY_FLAGS]


def losses(folder):
    parsed = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in parsed}


def wait_for(path, seconds=120):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.05)


def test_train_sample_evaluate(command, tmp_path):
    run = tmp_path / "run"
    code, output = command("train", *TRAIN, "--config.train.steps=4", "--workdir", run)
    assert code == 0, output
    assert "parameters" in output
    assert "checkpoint  step 4" in output

    out = tmp_path / "some.npz"
    code, output = command("sample", "--workdir", run, "--num_samples", 30, "--labels", "1,7", "--out", out)
    assert code == 0, output
    with np.load(out) as samples:
        assert samples["image"].shape == (30, 8, 8, 1)
        assert samples["image"].dtype == np.uint8
        assert samples["label"][:4].tolist() == [1, 7, 1, 7]
    assert Image.open(tmp_path / "some.png").size[0] == 2 * 50 + 2

    code, output = command("evaluate", "--workdir", run, "--steps", 2, "--sampler", "ddpm", "--num_samples", 30)
    assert code == 0, output
    assert "classifier_accuracy" in output
    report = json.loads((run / "evaluation.json").read_text())
    assert report["provenance"]["step"] == 4
    assert report["provenance"]["num_samples"] == 30
    assert report["provenance"]["sampling"]["sampler"] == "ddpm"
    assert set(report["scores"]["frechet_pixels"]) == {"value", "about"}


def test_one_device_and_four_give_the_same_run_and_the_same_samples(command, tmp_path):
    runs = {}
    for devices in (1, 4):
        run = tmp_path / f"run{devices}"
        code, output = command("train", *TRAIN, "--config.train.steps=5", "--workdir", run, devices=devices)
        assert code == 0, output
        assert f"{devices} x cpu" in output
        runs[devices] = losses(run)
    np.testing.assert_allclose(list(runs[1].values()), list(runs[4].values()), rtol=1e-4)

    def draw(devices, batch_size):
        out = tmp_path / f"{devices}_{batch_size}.npz"
        arguments = ["--workdir", tmp_path / "run1", "--num_samples", 50, "--batch_size", batch_size, "--seed", 3]
        code, output = command("sample", *arguments, "--sampler", "ddpm", "--out", out, devices=devices)
        assert code == 0, output
        with np.load(out) as samples:
            return samples["image"]

    one = draw(1, 50)
    np.testing.assert_array_equal(draw(1, 16), one)
    np.testing.assert_array_equal(draw(4, 32), one)


def test_kill_9_then_the_same_command_equals_an_uninterrupted_run(command, tmp_path):
    arguments = [*TRAIN, "--config.train.steps=60", "--config.checkpoint.every_steps=10"]
    code, output = command("train", *arguments, "--workdir", tmp_path / "whole")
    assert code == 0, output
    arguments += ["--workdir", tmp_path / "killed"]
    process = command.start("train", *arguments)
    wait_for(tmp_path / "killed" / "checkpoints" / "10")
    process.kill()
    process.communicate()
    assert max(losses(tmp_path / "killed")) < 60
    code, output = command("train", *arguments)
    assert code == 0, output
    assert "resuming from step" in output
    whole, killed = losses(tmp_path / "whole"), losses(tmp_path / "killed")
    assert list(killed) == list(whole) == list(range(1, 61))
    np.testing.assert_allclose(list(killed.values()), list(whole.values()), rtol=1e-5)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_leave(command, tmp_path, number):
    process = command.start("train", *TRAIN, "--config.train.steps=100000", "--workdir", tmp_path)
    wait_for(tmp_path / "checkpoints" / "2")
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    last = max(losses(tmp_path))
    assert f"stopped     by {number.name}; the same command goes on from here" in output
    assert f"checkpoint  step {last}" in output  # whatever was done is saved
    assert (tmp_path / "checkpoints" / str(last)).is_dir()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["--config", "configs/none.py", "--workdir", "RUN"], "configs/none.py"),
        ("train", [*TRAIN, "--config.train.stepz=3", "--workdir", "RUN"], "stepz"),
        ("train", [*TRAIN, "--config.train.steps=many", "--workdir", "RUN"], "many"),
        (
            "train",
            ["--config", "configs/digits.py:grey", "--workdir", "RUN"],
            "unknown variant 'grey' of configs/digits.py; its variants: uint, gray",
        ),
        ("train", ["--config", "configs/digits.py"], "workdir"),
        ("train", [*TRAIN, "--workdir", "RUN", "extra"], "unexpected arguments: extra"),
        ("sample", ["--workdir", "RUN"], "there is no folder"),
        ("sample", ["--workdir", "."], "holds no run of bitdiff"),
        ("sample", ["--workdir", "DONE", "--out", "x/y.npz"], "must be an .npz file in a folder that exists"),
        ("sample", ["--workdir", "DONE", "--labels", "1,a"], "must be class numbers"),
        ("sample", ["--workdir", "DONE", "--labels", "11"], "are not among the 10 classes"),
        ("sample", ["--workdir", "DONE", "--sampler", "euler"], "unknown sampler 'euler'"),
        ("sample", ["--workdir", "DONE", "--num_samples", "0"], "num_samples"),
        ("evaluate", ["--workdir", "RUN"], "there is no folder"),
    ],
)
def test_bad_input_gets_one_clear_error(command, tmp_path, finished_run, name, arguments, message):
    places = {"RUN": tmp_path / "run", "DONE": finished_run}
    code, output = command(name, *[places.get(argument, argument) for argument in arguments])
    assert code not in (0, None)
    assert message in output
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_a_batch_that_the_devices_cannot_share(command, tmp_path):
    arguments = [*TRAIN, "--config.train.batch_size=18", "--workdir", tmp_path / "run"]
    code, output = command("train", *arguments, devices=4)
    assert code == 2
    assert "error: config.train.batch_size is 18; it must be a positive multiple of the 4 devices" in output
