"""Runs in two real processes on this machine (gloo), each with emulated devices."""

import json
import os
import runpy
import shutil
import signal
import subprocess
import time

import numpy as np
import pytest
from conftest import ROOT, TINY_FLAGS

from bitdiff.inference import trained
from bitdiff.inference.sample_files import write_npz
from bitdiff.training import workdir

DIGITS = ["--config", "configs/digits.py", *TINY_FLAGS]


@pytest.fixture
def pair():
    """Starts a command in two processes, as launch/local.py does."""
    launcher = runpy.run_path(str(ROOT / "launch" / "local.py"))
    started = []

    def start(name, *args, devices=1):
        env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        line = [name, *args, "--heartbeat_seconds", 10]
        options = {"cwd": ROOT, "env": env, "text": True, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        both = launcher["start"](2, line, devices=devices, **options)
        started.extend(both)
        return both

    yield start
    for process in started:
        process.kill()


def ends(processes):
    outputs = [process.communicate(timeout=200)[0] for process in processes]
    return [process.returncode for process in processes], outputs


def losses(folder):
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines}


@pytest.mark.slow
def test_one_and_two_processes_train_alike_and_resume_each_others_checkpoints(pair, command, finished_run, tmp_path):
    # Two processes save and one resumes; the loss of every step equals that of a run in one process.
    by_two = tmp_path / "by_two"
    codes, outputs = ends(pair("train", *DIGITS, "--workdir", by_two, "--config.train.steps=4", devices=2))
    assert codes == [0, 0], outputs
    assert "4 x cpu in 2 processes" in outputs[0]
    assert "steps" not in outputs[1]  # only the first process prints
    assert "[Gloo]" not in "".join(outputs)
    code, output = command("train", *DIGITS, "--workdir", by_two, "--config.train.steps=6")
    assert code == 0, output
    assert losses(by_two) == pytest.approx(losses(finished_run), rel=1e-5)

    # One process saves and two resume.
    by_one = tmp_path / "by_one"
    shutil.copytree(finished_run, by_one)
    shutil.rmtree(by_one / "checkpoints" / "6")
    codes, outputs = ends(pair("train", *DIGITS, "--workdir", by_one, "--config.train.steps=6"))
    assert codes == [0, 0], outputs
    assert "resuming from step 4" in outputs[0]
    assert losses(by_one) == pytest.approx(losses(finished_run), rel=1e-5)


@pytest.mark.slow
def test_two_processes_draw_the_same_samples_as_one(pair, finished_run, tmp_path):
    outputs = trained.load(finished_run).sample(1000, batch_size=200)
    write_npz(tmp_path / "one.npz", outputs)
    args = ["--workdir", finished_run, "--num_samples", 1000, "--batch_size", 200]
    codes, outputs = ends(pair("sample", *args, "--out", tmp_path / "two.npz"))
    assert codes == [0, 0], outputs
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()

    codes, outputs = ends(pair("sample", *args, "--shard_size", 250, "--out", tmp_path / "shards"))
    assert codes == [0, 0], outputs
    assert sorted(path.name for path in (tmp_path / "shards").glob("*.npz")) == [f"0000{i}.npz" for i in range(4)]
    shards = [np.load(tmp_path / "shards" / f"0000{i}.npz")["image"] for i in range(4)]
    np.testing.assert_array_equal(np.concatenate(shards), np.load(tmp_path / "one.npz")["image"])


def started(processes, folder, step):
    """Waits until a run has logged a step."""
    for _ in range(600):
        if (folder / "metrics.jsonl").exists() and max(losses(folder), default=0) >= step:
            return
        assert all(process.poll() is None for process in processes), ends(processes)
        time.sleep(0.2)
    raise AssertionError("the run did not start")


@pytest.mark.slow
def test_a_signal_to_one_process_stops_both_at_the_same_step(pair, tmp_path):
    args = [*DIGITS, "--workdir", tmp_path, "--config.train.steps=100000", "--config.checkpoint.every_steps=100000"]
    processes = pair("train", *args)
    started(processes, tmp_path, 3)
    processes[1].send_signal(signal.SIGTERM)
    codes, outputs = ends(processes)
    assert codes == [128 + signal.SIGTERM] * 2, outputs
    (saved,) = [int(path.name) for path in (tmp_path / "checkpoints").iterdir()]
    assert f"step {saved} in" in outputs[0]
    assert max(losses(tmp_path)) == saved


@pytest.mark.slow
def test_when_one_process_dies_the_other_exits_with_an_error(pair, tmp_path):
    processes = pair("train", *DIGITS, "--workdir", tmp_path, "--config.train.steps=100000")
    started(processes, tmp_path, 6)  # by then the checkpoint of step 2 is complete
    processes[1].kill()
    codes, outputs = ends(processes)
    assert codes[0] == 3
    assert "error: stopping, because" in outputs[0], outputs[0]
    assert "stack trace" not in outputs[0]
    assert workdir.has_checkpoints(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("stopped", [0, 1])
def test_when_one_process_is_suspended_the_other_exits_with_a_clear_error(pair, tmp_path, stopped):
    """Process 0 runs jax's coordination service; process 1 does not."""
    processes = pair("train", *DIGITS, "--workdir", tmp_path, "--config.train.steps=100000")
    started(processes, tmp_path, 6)
    processes[stopped].send_signal(signal.SIGSTOP)
    other = processes[1 - stopped]
    output, _ = other.communicate(timeout=40)
    assert other.returncode == 3
    assert f"error: stopping, because process {stopped} has not responded for 10 s" in output
    assert "Check failure stack trace" not in output
    assert workdir.has_checkpoints(tmp_path)


@pytest.mark.slow
def test_the_local_launcher_ends_when_a_process_fails_and_another_hangs():
    launcher = runpy.run_path(str(ROOT / "launch" / "local.py"))
    launcher["wait"].__globals__["GRACE_SECONDS"] = 0.5
    processes = [subprocess.Popen(["sleep", "100"]), subprocess.Popen(["false"])]
    assert launcher["wait"](processes) == 1
    assert processes[0].poll() == -signal.SIGKILL
