import json
import logging
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff import workdir
from bitdiff.checkpoints import Checkpoints
from bitdiff.errors import UsageError

STATE = {"weights": jnp.arange(6.0).reshape(2, 3), "step": jnp.int32(7)}
ABSTRACT = jax.eval_shape(lambda: STATE)


def latest(folder, **options):
    with Checkpoints(folder, **options) as checkpoints:
        return checkpoints.restore_latest(ABSTRACT)


@pytest.fixture
def filled(tmp_path):
    """A workdir with checkpoints of steps 1, 2 and 3."""
    checkpoints = Checkpoints(tmp_path, keep=3)
    for step in (1, 2, 3):
        state = {"weights": STATE["weights"] + step, "step": jnp.int32(step)}
        checkpoints.save(step, state, {"data": {"next_index": step}}, {"seed": 5})
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


def test_the_latest_is_restored(filled):
    restored = latest(filled, read_only=True)
    assert restored.step == 3
    np.testing.assert_array_equal(restored.state["weights"], STATE["weights"] + 3)
    assert restored.progress == {"data": {"next_index": 3}}
    assert restored.config == {"seed": 5}


def test_only_the_last_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in range(5):
        checkpoints.save(step, STATE, {}, {})
    checkpoints.wait()
    assert checkpoints.steps() == [3, 4]
    checkpoints.close()


def test_no_checkpoints(tmp_path):
    assert latest(tmp_path, keep=1) is None
    with pytest.raises(UsageError, match="holds no checkpoints"):
        Checkpoints(tmp_path / "elsewhere", read_only=True)
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(UsageError, match="keep is 0"):
        Checkpoints(tmp_path, keep=0)


@pytest.mark.parametrize("kind", ["no data", "no manifest", "half files", "empty folder"])
def test_a_damaged_checkpoint_is_passed_over_aloud_and_set_aside(filled, kind, caplog):
    damage(filled, 3, kind)
    with caplog.at_level(logging.WARNING):
        restored = latest(filled, keep=3)
    assert restored.step == 2
    np.testing.assert_array_equal(restored.state["weights"], STATE["weights"] + 2)
    assert "cannot be read" in caplog.text
    assert "going back to the checkpoint of step 2" in caplog.text
    assert (filled / "checkpoints" / "3.damaged").is_dir()
    # The step can be saved again.
    checkpoints = Checkpoints(filled, keep=3)
    checkpoints.save(3, STATE, {}, {})
    checkpoints.close()
    assert latest(filled, read_only=True).step == 3


def test_a_reader_moves_nothing(filled):
    damage(filled, 3, "no manifest")
    before = sorted(path.name for path in (filled / "checkpoints").iterdir())
    assert latest(filled, read_only=True).step == 2
    assert sorted(path.name for path in (filled / "checkpoints").iterdir()) == before


def test_when_all_are_damaged_nothing_is_touched(filled):
    for step in (1, 2, 3):
        damage(filled, step, "no manifest")
    with pytest.raises(UsageError, match=r"none of the checkpoints \[1, 2, 3\]"):
        latest(filled, keep=3)
    assert sorted(path.name for path in (filled / "checkpoints").iterdir()) == ["1", "2", "3"]


def test_the_config_is_found_in_the_checkpoints_too(filled, make_config):
    assert workdir.load_config(filled).seed == 5
    workdir.save_config(filled, make_config(seed=9))
    assert workdir.load_config(filled).seed == 9
    (filled / "config.json").write_text('{"seed": ')
    with pytest.raises(UsageError, match=r"config.json cannot be read.*delete it to use the copy"):
        workdir.load_config(filled)


def test_workdirs_without_a_run_are_named(tmp_path):
    with pytest.raises(UsageError, match="there is no folder"):
        workdir.load_config(tmp_path / "none")
    with pytest.raises(UsageError, match="holds no run of bitdiff"):
        workdir.load_config(tmp_path)


def test_changed_fields_are_named(tmp_path, make_config):
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
