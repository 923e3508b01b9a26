import json
import logging
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_config

from bitdiff.runtime import processes
from bitdiff.runtime.errors import SavingError, UsageError
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints, Policy

STATE = {"weights": jnp.arange(6.0).reshape(2, 3), "step": jnp.int32(7)}
ABSTRACT = jax.eval_shape(lambda: STATE)


def latest(folder, **options):
    with Checkpoints(folder, **options) as checkpoints:
        return checkpoints.restore(ABSTRACT)


@pytest.fixture
def filled(tmp_path):
    """A workdir with checkpoints of steps 1, 2 and 3."""
    config = workdir.plain(tiny_config(seed=5))
    checkpoints = Checkpoints(tmp_path, policy=Policy(keep=3))
    for step in (1, 2, 3):
        state = {"weights": STATE["weights"] + step, "step": jnp.int32(step)}
        checkpoints.save(step, state, {"data": {"next_index": step}}, config)
    checkpoints.close()
    return tmp_path


def damage(workdir, step, kind):
    folder = workdir / "checkpoints" / str(step)
    if kind == "no data":
        for path in (folder / "state").rglob("*"):
            if path.is_file() and path.parent.name == "d":
                path.unlink()
    elif kind == "no manifest":
        (folder / "state" / "manifest.ocdbt").unlink()
    elif kind == "half files":
        for path in folder.rglob("*"):
            if path.is_file():
                path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty folder":
        shutil.rmtree(folder)
        folder.mkdir()


def test_the_latest_checkpoint_is_restored(filled):
    restored = latest(filled, read_only=True)
    assert restored.step == 3
    np.testing.assert_array_equal(restored.state["weights"], STATE["weights"] + 3)
    assert restored.progress == {"data": {"next_index": 3}, "metrics": {}}
    assert restored.config["seed"] == 5


def test_changes_after_the_save_call_are_not_saved(tmp_path, monkeypatch):
    sums, config = {"loss": 1.0}, {"seed": 5}
    with Checkpoints(tmp_path) as checkpoints:
        write = checkpoints._manager.save

        def write_late(*args, **kwargs):
            sums["loss"] = config["seed"] = 2.0
            return write(*args, **kwargs)

        monkeypatch.setattr(checkpoints._manager, "save", write_late)
        checkpoints.save(1, STATE, {"sums": sums}, config)
    restored = latest(tmp_path)
    assert restored.progress["sums"] == {"loss": 1.0}
    assert restored.config["seed"] == 5


def test_only_the_latest_checkpoints_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, policy=Policy(keep=2))
    for step in range(5):
        checkpoints.save(step, STATE, {}, {})
    checkpoints.wait()
    assert checkpoints.steps() == [3, 4]
    checkpoints.close()


def test_missing_checkpoints_are_reported(tmp_path):
    assert latest(tmp_path, policy=Policy(keep=1)) is None
    with pytest.raises(UsageError, match="holds no checkpoints"):
        Checkpoints(tmp_path / "elsewhere", read_only=True)
    assert not (tmp_path / "elsewhere").exists()


def test_the_policy_keeps_the_latest_periodic_and_best_checkpoints(tmp_path):
    policy = Policy(keep=2, keep_every_steps=4, keep_best=1, best_metric="test_loss")
    with Checkpoints(tmp_path, policy=policy) as checkpoints:
        for step in range(1, 10):
            loss = {"test_loss": abs(step - 3.0), "loss": -float(step)}
            checkpoints.save(step, STATE, {}, {}, loss if step != 5 else {})
            if step == 6:  # a restart does not forget which checkpoint was the best
                checkpoints.close()
                checkpoints = Checkpoints(tmp_path, policy=policy)
        checkpoints.wait()
        assert checkpoints.steps() == [3, 4, 8, 9]
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.choose("best", "test_loss") == 3
        assert checkpoints.choose("best", "loss") == 9
        assert checkpoints.choose("8", "loss") == 8
        assert checkpoints.restore(ABSTRACT, step=4).step == 4
        with pytest.raises(UsageError, match=r"no checkpoint '5' in .*there are: best, \[3, 4, 8, 9\]"):
            checkpoints.choose("5", "loss")
        with pytest.raises(UsageError, match="has the metric 'fid'"):
            checkpoints.choose("best", "fid")


@pytest.mark.parametrize("kind", ["no data", "no manifest", "half files", "empty folder"])
def test_a_damaged_checkpoint_is_skipped_with_a_warning_and_set_aside(filled, kind, caplog):
    damage(filled, 3, kind)
    with caplog.at_level(logging.WARNING):
        restored = latest(filled, policy=Policy(keep=3))
    assert restored.step == 2
    np.testing.assert_array_equal(restored.state["weights"], STATE["weights"] + 2)
    assert "cannot be read" in caplog.text
    assert "using the checkpoint of step 2 instead" in caplog.text
    assert (filled / "checkpoints" / "3.damaged").is_dir()
    # The step can be saved again.
    checkpoints = Checkpoints(filled, policy=Policy(keep=3))
    checkpoints.save(3, STATE, {}, {})
    checkpoints.close()
    assert latest(filled, read_only=True).step == 3


def test_a_read_only_restore_moves_nothing(filled):
    damage(filled, 3, "no manifest")
    before = sorted(path.name for path in (filled / "checkpoints").iterdir())
    assert latest(filled, read_only=True).step == 2
    assert sorted(path.name for path in (filled / "checkpoints").iterdir()) == before


def test_when_all_checkpoints_are_damaged_nothing_is_moved(filled):
    for step in (1, 2, 3):
        damage(filled, step, "no manifest")
    with pytest.raises(UsageError, match=r"none of the checkpoints \[1, 2, 3\]"):
        latest(filled, policy=Policy(keep=3))
    assert sorted(path.name for path in (filled / "checkpoints").iterdir()) == ["1", "2", "3"]


def test_the_config_is_also_found_in_the_checkpoints(filled):
    assert workdir.load_config(filled).seed == 5
    workdir.save_config(filled, tiny_config(**{"seed": 5, "sample.steps": 7}))
    assert workdir.load_config(filled).sample.steps == 7  # this may change between starts


def test_an_edited_config_is_refused_with_the_fields_that_differ(filled):
    workdir.save_config(filled, tiny_config(**{"seed": 5, "network.dim": 16}))
    with pytest.raises(UsageError, match=r"config.json was edited .*delete it") as error:
        workdir.load_config(filled)
    assert "config.network.dim: 8 in the checkpoint, 16 in this file" in str(error.value)
    assert "config.seed" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"seed": ', "config.json cannot be read"),
        ("[" * 100_000, "config.json cannot be read"),
        ("[1, 2]", r"config is \[1, 2\]; it must have sections"),
        ('"text"', "config is 'text'; it must have sections"),
        ("{}", "config.task is missing"),
        ("\x00", "config.json cannot be read"),
    ],
)
def test_a_damaged_config_is_refused_and_the_copy_named(filled, text, message):
    (filled / "config.json").write_text(text)
    with pytest.raises(UsageError, match=rf"{message}.*delete it to use the copy in the checkpoints"):
        workdir.load_config(filled)


def test_workdirs_without_a_run_are_reported(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        workdir.load_config(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no bitdiff run"):
        workdir.load_config(tmp_path)


def test_changed_fields_are_reported(tmp_path, make_config):
    workdir.save_config(tmp_path, make_config())
    workdir.check_unchanged(tmp_path, make_config())
    workdir.check_unchanged(tmp_path, make_config(**{"train.steps": 100, "sample.sampler": "ddpm"}))
    with pytest.raises(UsageError) as error:
        workdir.check_unchanged(tmp_path, make_config(**{"bits.encoding": "gray", "network.dim": 16}))
    assert "config.bits.encoding: 'uint' in the workdir, 'gray' now" in str(error.value)
    assert "config.network.dim: 8 in the workdir, 16 now" in str(error.value)
    assert "seed" not in str(error.value)


def test_a_saved_config_is_plain_json(tmp_path, make_config):
    workdir.save_config(tmp_path, make_config())
    loaded = json.loads((tmp_path / "config.json").read_text())
    assert loaded["network"]["multipliers"] == [1]
    assert not list(tmp_path.glob("*.partial"))


def test_a_flipped_bit_is_detected(tmp_path, caplog):
    state = {"weights": jax.random.normal(jax.random.key(0), (100, 100))}
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(1, state, {}, {})
    path = max((path for path in tmp_path.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 4
    path.write_bytes(content)
    with Checkpoints(tmp_path, read_only=True) as checkpoints, pytest.raises(UsageError, match="can be read"):
        checkpoints.restore(jax.eval_shape(lambda: state))
    assert "its content differs from what was saved" in caplog.text  # Orbax itself reads it without an error


@pytest.mark.parametrize("words_alone", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_a_lost_process_is_not_mistaken_for_a_full_disk(filled, monkeypatch, joined, words_alone):
    def fails(*_, **__):
        if words_alone:
            raise ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer")
        try:
            raise jax.errors.JaxRuntimeError("UNKNOWN: Gloo AllGather failed: Connection reset by peer")
        except jax.errors.JaxRuntimeError as error:
            raise ValueError("the barrier was not reached") from error

    with Checkpoints(filled) as checkpoints:
        monkeypatch.setattr(checkpoints._manager, "save", fails)
        monkeypatch.setattr(processes, "is_joined", lambda: joined)
        with pytest.raises(jax.errors.JaxRuntimeError if joined else SavingError, match=r"Gloo|\[1, 2, 3\]"):
            checkpoints.save(4, STATE, {}, {})


def test_a_damaged_config_in_a_checkpoint_is_not_compared(filled):
    """A flipped bit in the newest checkpoint's config must not make config.json look edited."""
    workdir.save_config(filled, tiny_config(seed=5))
    path = next((filled / "checkpoints" / "3" / "config").rglob("metadata"))
    path.write_text(path.read_text().replace('"dim": 8', '"dim": 9'))
    assert workdir.load_config(filled).network.dim == 8
    (filled / "config.json").unlink()
    assert workdir.load_config(filled).network.dim == 8  # from the checkpoint before it


def test_a_url_is_no_workdir(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="it must be a local path, on a file system that supports appending"):
        workdir.make(Path("gs://bucket/run"))
    assert not list(tmp_path.iterdir())
