"""The commands as a user runs them: flags, exit codes, signals, several devices."""

import json
import os
import shutil
import signal
import time

import numpy as np
import pytest
from conftest import TINY_FLAGS
from PIL import Image

from bitdiff.inference import trained

TRAIN = ["--config", "configs/digits.py", *TINY_FLAGS]


def losses(folder):
    parsed = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in parsed}


def wait_for(path, seconds=120):
    until = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < until, f"{path} did not appear"
        time.sleep(0.05)


@pytest.mark.slow
def test_train_sample_evaluate(command, tmp_path):
    run = tmp_path / "run"
    code, output = command.fresh("train", *TRAIN, "--config.train.steps=4", "--workdir", run)
    assert code == 0, output
    assert "parameters" in output
    assert "checkpoint  step 4" in output

    out = tmp_path / "some.npz"
    code, output = command.fresh("sample", "--workdir", run, "--num_samples", 30, "--labels", "1,7", "--out", out)
    assert code == 0, output
    with np.load(out) as samples:
        assert samples["image"].shape == (30, 8, 8, 1)
        assert samples["image"].dtype == np.uint8
        assert samples["label"][:4].tolist() == [1, 7, 1, 7]
    assert Image.open(tmp_path / "some.png").size[0] == 2 * 50 + 2

    judge = tmp_path / "judge.npz"
    code, output = command("train_judge", "--config", "digits", "--epochs", 1, "--out", judge)
    assert code == 0, output
    assert "on test images" in output
    options = ("--steps", 2, "--sampler", "ddpm", "--num_samples", 30, "--judge", judge)
    code, output = command.fresh("evaluate", "--workdir", run, *options)
    assert code == 0, output
    assert "classifier_accuracy" in output
    report = json.loads((run / "evaluation.json").read_text())
    assert report["provenance"]["step"] == 4
    assert report["provenance"]["num_samples"] == 30
    assert report["provenance"]["sampling"]["sampler"] == "ddpm"
    assert set(report["scores"]["frechet_pixels"]) == {"value", "about"}
    assert {"judge_frechet", "judge_frechet_real", "judge_precision", "judge_accuracy"} <= set(report["scores"])
    assert report["provenance"]["judge"]["epochs"] == 1


@pytest.mark.slow
def test_a_damaged_checkpoint_is_skipped_with_a_warning(command, tmp_path, finished_run):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)

    def damage(step):
        for path in (run / "checkpoints" / str(step)).rglob("d/*"):
            content = bytearray(path.read_bytes())
            content[len(content) // 2] ^= 0xFF
            path.write_bytes(bytes(content))

    damage(6)
    code, output = command("sample", "--workdir", run, "--num_samples", 2, "--out", tmp_path / "x.npz")
    assert code == 0, output
    assert "warning: the checkpoint" in output
    assert "cannot be read" in output
    assert "warning: using the checkpoint of step 4 instead" in output
    assert "wrote 2 samples from step 4" in output
    assert "Traceback" not in output
    damage(4)
    damage(2)
    code, output = command("sample", "--workdir", run, "--out", tmp_path / "x.npz")
    assert code == 2
    assert "none of the checkpoints [2, 4, 6]" in output
    assert output.count("cannot be read (") == 3


@pytest.mark.slow
def test_resuming_draws_only_the_missing_shards(command, tmp_path, finished_run):
    whole, parts = tmp_path / "whole.npz", tmp_path / "parts"
    code, output = command("sample", "--workdir", finished_run, "--num_samples", 25, "--out", whole)
    assert code == 0, output
    arguments = ["--workdir", finished_run, "--num_samples", 25, "--shard_size", 10, "--out", parts]
    code, output = command("sample", *arguments)
    assert code == 0, output
    names = ["00000.npz", "00001.npz", "00002.npz"]
    assert sorted(p.name for p in parts.iterdir()) == [*names, "samples.json"]
    (parts / "00001.npz").unlink()
    record = json.loads((parts / "samples.json").read_text())
    del record["run"]["optimizer"]["freeze_steps"]  # as if the folder had been written before this field existed
    (parts / "samples.json").write_text(json.dumps(record))
    code, output = command("sample", *arguments)
    assert "10 of them drawn now" in output
    shards = [np.load(parts / name)["image"] for name in names]
    np.testing.assert_array_equal(np.concatenate(shards), np.load(whole)["image"])
    code, output = command("sample", *arguments, "--seed", 1)
    assert code == 2
    assert "holds other samples (different: seed)" in output

    code, output = command(
        "sample", "--workdir", finished_run, "--num_samples", 3, "--format", "png", "--out", tmp_path / "png"
    )
    assert code == 0, output
    first = np.asarray(Image.open(tmp_path / "png" / "000000.png"))
    np.testing.assert_array_equal(first, np.round(np.load(whole)["image"][0, ..., 0] * (255 / 16)))


@pytest.mark.slow
def test_frames_are_drawn_as_a_strip_of_estimates(command, tmp_path, finished_run):
    arguments = ["--workdir", finished_run, "--num_samples", 2, "--steps", 4, "--frames", 3]
    code, output = command("sample", *arguments, "--out", tmp_path / "x.npz")
    assert code == 0, output
    assert Image.open(tmp_path / "x_strip.png").size == (3 * 50 + 2, 2 * 50 + 2)


@pytest.mark.slow
def test_a_sweep_measures_each_cell_once(command, tmp_path, finished_run):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    code, output = command("sweep", "--workdir", run, "--sampler", "ddim,ddpm", "--steps", "2", "--num_samples", 20)
    assert code == 0, output
    assert "cell 2 of 2" in output
    arguments = ["--workdir", run, "--sampler", "ddim,ddpm", "--steps", "2", "--td", "0,1", "--num_samples", 20]
    code, output = command("sweep", *arguments)
    assert code == 0, output
    assert output.count("cell ") == 2  # the other two had been measured
    assert len(json.loads((run / "sweep.json").read_text())["cells"]) == 4
    table = (run / "sweep.md").read_text().splitlines()
    assert table[0].startswith("| sampler | steps | td | invalid_codes | ")
    assert len(table) == 2 + 4
    assert Image.open(run / "sweep.png").size[0] > 100
    code, output = command("sweep", "--workdir", run, "--sampler", "ddim,euler")
    assert code == 2
    assert "unknown sampler 'euler'" in output
    assert "cell" not in output


@pytest.mark.slow
def test_eight_devices_need_no_flag(command, tmp_path, finished_run):
    out = tmp_path / "x.npz"
    code, output = command("sample", "--workdir", finished_run, "--num_samples", 3, "--out", out, devices=8)
    assert code == 0, output
    assert np.load(out)["image"].shape[0] == 3


@pytest.mark.slow
def test_by_default_the_cores_share_the_batch(command, tmp_path):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    code, output = command("train", *TRAIN, "--config.train.steps=3", "--workdir", tmp_path, devices=None)
    assert code == 0, output
    assert f"{max(n for n in (1, 2, 4, 8) if n <= cores)} x cpu" in output


@pytest.mark.slow
def test_one_and_four_devices_give_the_same_run_and_samples(command, tmp_path):
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


@pytest.mark.slow
def test_a_run_resumed_after_kill_9_equals_an_uninterrupted_one(command, tmp_path):
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
@pytest.mark.slow
def test_a_signal_saves_a_checkpoint_and_exits(command, tmp_path, number):
    process = command.start("train", *TRAIN, "--config.train.steps=100000", "--workdir", tmp_path)
    wait_for(tmp_path / "checkpoints" / "2")
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output
    last = max(losses(tmp_path))
    assert f"stopped     by {number.name}; the same command resumes from here" in output
    assert f"checkpoint  step {last}" in output  # every completed step is saved
    assert (tmp_path / "checkpoints" / str(last)).is_dir()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("train", ["--config", "configs/none.py", "--workdir", "RUN"], "configs/none.py"),
        (
            "train",
            [*TRAIN, "--config.train.stepz=3", "--workdir", "RUN"],
            "error: there is no field config.train.stepz; did you mean 'steps'?",
        ),
        (
            "train",
            [*TRAIN, "--config.zebra=3", "--workdir", "RUN"],
            "error: there is no field config.zebra; configs/fields.md lists the fields",
        ),
        ("train", [*TRAIN, "--config.train.steps=many", "--workdir", "RUN"], "many"),
        (
            "train",
            ["--config", "configs/digits.py:grey", "--workdir", "RUN"],
            "error: unknown variant 'grey' of configs/digits.py; its variants: uint, gray",
        ),
        ("train", ["--config", "configs/digits.py"], "workdir"),
        ("train", [*TRAIN, "--workdir", "RUN", "extra"], "unexpected arguments: extra"),
        ("sample", ["--workdir", "RUN"], "there is no folder"),
        ("sample", ["--workdir", "."], "holds no bitdiff run"),
        (
            "sample",
            ["--workdir", "DONE", "--out", "x/y.npz"],
            "an .npz file or a folder, in an existing folder",
        ),
        ("sample", ["--workdir", "DONE", "--out", "DIR.npz"], "cannot be written (it is a folder)"),
        ("sample", ["--workdir", "DONE", "--seed", "99999999999999999999"], "seed"),
        ("train", [*TRAIN, "--workdir", "/proc/none"], "--workdir: /proc/none cannot be written to"),
        ("train", ["--config", "bitdiff/diffusion/bits.py", "--workdir", "RUN"], "has no function get_config"),
        ("sample", ["--workdir", "DONE", "--labels", "1,a"], "--labels is 1,a; it must be a list of integers"),
        ("sample", ["--workdir", "DONE", "--labels", "11"], "are not among the 10 classes"),
        ("sample", ["--workdir", "DONE", "--sampler", "euler"], "unknown sampler 'euler'"),
        ("sample", ["--workdir", "DONE", "--num_samples", "0"], "num_samples"),
        ("evaluate", ["--workdir", "RUN"], "there is no folder"),
    ],
)
@pytest.mark.slow
def test_bad_input_gets_one_clear_error(command, tmp_path, finished_run, name, arguments, message):
    places = {"RUN": tmp_path / "run", "DONE": finished_run, "DIR.npz": tmp_path / "dir.npz"}
    (tmp_path / "dir.npz").mkdir()
    code, output = command(name, *[places.get(argument, argument) for argument in arguments])
    assert code not in (0, None)
    assert message in output
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_batch_that_the_devices_cannot_split_evenly_is_refused(command, tmp_path):
    arguments = [*TRAIN, "--config.train.batch_size=18", "--workdir", tmp_path / "run"]
    code, output = command("train", *arguments, devices=4)
    assert code == 2
    assert "error: config.train.batch_size is 18; it must be a positive multiple of the 4 devices" in output


@pytest.mark.slow
def test_a_full_disk_ends_a_run_without_losing_checkpoints(command, finished_run, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(finished_run, folder)
    # Filling a file system requires root privileges; a limit on file sizes makes writing fail in the same way.
    small_files = ["bash", "-c", 'trap "" XFSZ; ulimit -f 30; exec "$@"', "bash"]
    args = [*TRAIN, "--workdir", folder, "--config.train.steps=10"]
    code, output = command.fresh("train", *args, prefix=small_files)
    assert code == 4, output
    assert "error: a checkpoint could not be written to" in output
    assert "The checkpoints of steps [2, 4, 6] are intact" in output
    assert "Traceback" not in output
    assert trained.load(folder).step == 6
