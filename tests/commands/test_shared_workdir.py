"""What a workdir is protected against: a second training run, a full disk, damaged logs; and --help."""

import json
import shutil
import signal

import pytest
from conftest import TINY_FLAGS

from bitdiff.training import workdir

TRAIN = ["--config", "digits", *TINY_FLAGS]
NO_SPACE = ("bash", "-c", 'ulimit -f 0; exec "$@"', "bash")  # only empty files


@pytest.mark.slow
def test_a_second_training_run_in_a_workdir_is_refused(command, tmp_path):
    flags = [*TRAIN, "--config.train.steps=100000", "--workdir", tmp_path / "run"]
    first = command.start("train", *flags)
    while "compiling the training step took" not in first.stdout.readline():
        assert first.poll() is None
    code, output = command("train", *flags)
    assert code == 2
    assert f"error: another training run is writing to {tmp_path / 'run'}: process {first.pid} on" in output
    first.send_signal(signal.SIGTERM)
    first.communicate(timeout=100)
    assert first.returncode == 128 + signal.SIGTERM
    assert workdir.has_checkpoints(tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sample", "evaluate"])
def test_a_full_disk_names_the_file_and_leaves_no_part_of_it(command, finished_run, tmp_path, name):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    (run / "evaluation.json").unlink(missing_ok=True)
    flags = ["--out", tmp_path / "x.npz"] if name == "sample" else []
    code, output = command.fresh(name, "--workdir", run, "--num_samples", 40, *flags, cwd=tmp_path, prefix=NO_SPACE)
    assert code == 2, output
    assert "Traceback" not in output
    assert "error: File too large: " in output
    assert (str(tmp_path / "x.npz") if name == "sample" else str(run)) in output.splitlines()[-1]
    assert not list(tmp_path.rglob("*.partial"))


@pytest.mark.slow
def test_a_log_that_is_not_utf_8_does_not_prevent_resuming(command, finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    before = (run / "metrics.jsonl").read_bytes()
    (run / "metrics.jsonl").write_bytes(before + b"\xff\xfe{\n")
    code, output = command("train", *TRAIN, "--config.train.steps=8", "--workdir", run)
    assert code == 0, output
    steps = [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert steps == list(range(1, 9))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["train", "sample", "evaluate"])
def test_help_lists_all_flags_and_exits_with_0(command, name):
    code, output = command(name, "--help")
    assert code == 0
    assert "--workdir" in output
    assert "--platform" in output
    assert ("--config" in output) is (name == "train")
    assert ("--steps" in output) is (name != "train")
