import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.configs import npz
from bitdiff.inference import trained
from bitdiff.runtime.errors import DivergedError, SavingError, UsageError
from bitdiff.training import loop, setup, trainer, workdir
from bitdiff.training.checkpoints import Checkpoints
from bitdiff.training.loop import Progress
from bitdiff.training.trainer import train


def lines(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses(folder):
    return {line["step"]: line["loss"] for line in lines(folder)}


def test_a_run_writes_all_its_files(finished_run):
    assert sorted(losses(finished_run)) == [1, 2, 3, 4, 5, 6]
    assert sorted(p.name for p in (finished_run / "checkpoints").iterdir()) == ["2", "4", "6"]
    assert list((finished_run / "tensorboard").glob("events.*"))
    config = json.loads((finished_run / "config.json").read_text())
    assert config["data"]["num_classes"] == 10  # filled in from the data
    assert set(lines(finished_run)[0]) == {"step", "loss", "grad_norm", "steps_per_second", "examples_per_second"}


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one(finished_run, make_config, tmp_path):
    # Logged every 3 steps, so that the pause at step 4 splits the interval of steps 4 to 6.
    def config(steps):
        return make_config(**{"train.steps": steps, "train.log_every_steps": 3})

    assert train(config(6), tmp_path / "whole") == Progress(6, None)
    assert train(config(4), tmp_path / "parts") == Progress(4, None)
    assert train(config(6), tmp_path / "parts") == Progress(6, None)
    whole, parts = losses(tmp_path / "whole"), losses(tmp_path / "parts")
    assert whole.keys() == parts.keys() == {3, 6}
    np.testing.assert_allclose(list(parts.values()), list(whole.values()), rtol=1e-5)
    single = losses(finished_run)
    assert whole[6] == pytest.approx(np.mean([single[4], single[5], single[6]]), rel=1e-5)
    first, second = (trained.load(tmp_path / name).params for name in ("whole", "parts"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), first, second)


@pytest.mark.slow
def test_a_killed_run_resumes_from_its_last_checkpoint(finished_run, make_config, tmp_path):
    folder = tmp_path / "run"
    train(make_config(**{"train.steps": 4}), folder)
    # What a kill at step 5 would leave: a step beyond the checkpoint, and a truncated line.
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "loss": 9.0}\n{"step": 6, "lo')
    train(make_config(), folder)
    assert losses(folder) == pytest.approx(losses(finished_run), rel=1e-5)


@pytest.mark.slow
def test_a_finished_run_is_left_unchanged(finished_run, make_config, capsys):
    before = losses(finished_run)
    assert train(make_config(), finished_run) == Progress(6, None)
    assert "raise config.train.steps" in capsys.readouterr().out
    assert losses(finished_run) == before


@pytest.mark.slow
def test_previews_are_drawn(make_config, tmp_path):
    train(make_config(**{"train.steps": 3, "train.sample_every_steps": 2}), tmp_path)
    assert [p.name for p in sorted((tmp_path / "samples").iterdir())] == ["step_00000002.png", "step_00000003.png"]


@pytest.mark.slow
def test_a_nan_stops_the_run_and_keeps_the_checkpoints(make_config, tmp_path, monkeypatch):
    make_task = setup.make_task

    def poisoned(config):
        task = make_task(config)

        def loss(params, batch, keys):
            value, metrics = task.loss(params, batch, keys)
            return value * jnp.where(poison, jnp.nan, 1.0), metrics

        return task._replace(loss=loss)

    monkeypatch.setattr(setup, "make_task", poisoned)
    poison = False
    train(make_config(**{"train.steps": 4}), tmp_path)
    poison = True
    with pytest.raises(DivergedError, match=r"loss is nan.* at step 5 in .*; the checkpoint of step 4 is kept"):
        train(make_config(**{"train.steps": 50}), tmp_path)
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["2", "4"]
    assert trained.load(tmp_path).step == 4


@pytest.mark.slow
@pytest.mark.parametrize("error", [UsageError("a damaged picture"), OSError(5, "Input/output error", "a.png")])
def test_an_error_does_not_lose_the_steps_since_the_last_checkpoint(make_config, tmp_path, monkeypatch, error):
    train_once = loop.Loop._train_once

    def fail(self, *arguments):
        if self.step == 3:
            raise error
        train_once(self, *arguments)

    config = make_config(**{"checkpoint.every_steps": 100, "checkpoint.keep_best": 1, "checkpoint.best_metric": "loss"})
    with monkeypatch.context() as patch:
        patch.setattr(loop.Loop, "_train_once", fail)
        message = "Input/output error: a.png; the checkpoint of step 3 is kept" if error.args[0] == 5 else "a damaged"
        with pytest.raises(SavingError if error.args[0] == 5 else UsageError, match=message):
            train(config, tmp_path)
    assert trained.load(tmp_path).step == 3
    assert train(config, tmp_path) == Progress(6, None)
    # The log is written, and its means reset, at the same steps as the checkpoints.
    logged = losses(tmp_path)
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints._read_values("loss") == {step: pytest.approx(logged[step]) for step in (3, 6)}


@pytest.mark.slow
def test_the_error_does_not_claim_a_checkpoint_that_could_not_be_saved(make_config, tmp_path, monkeypatch):
    def fail(self):
        raise OSError(28, "No space left on device", "metrics.jsonl")

    def fail_too(self, *arguments):
        raise SavingError("no space")

    monkeypatch.setattr(loop.Loop, "_write_scalars", fail)
    monkeypatch.setattr(Checkpoints, "save", fail_too)
    with pytest.raises(SavingError, match=r"No space left on device: metrics.jsonl; nothing has been saved yet"):
        train(make_config(), tmp_path)


@pytest.mark.parametrize(
    ("schedule", "steps", "shown"), [("cosine", 9, True), ("cosine", 6, False), ("constant", 9, False)]
)
def test_a_learning_rate_that_depends_on_a_new_length_is_reported(make_config, capsys, schedule, steps, shown):
    before = workdir.plain(make_config())
    trainer._report_new_length(make_config(**{"optimizer.schedule": schedule, "train.steps": steps}), before)
    expected = "config.train.steps changed from 6 to 9: the learning rate continues on the cosine schedule"
    assert (expected in capsys.readouterr().out) == shown


@pytest.mark.slow
def test_a_run_without_checkpoints_accepts_another_config(make_config, tmp_path):
    workdir.save_config(tmp_path, make_config(**{"optimizer.learning_rate": 0.5}))  # as a kill would leave it
    assert train(make_config(**{"train.steps": 2}), tmp_path) == Progress(2, None)
    assert json.loads((tmp_path / "config.json").read_text())["optimizer"]["learning_rate"] == 2e-3


@pytest.mark.slow
def test_resuming_with_other_data_is_refused(tmp_path):
    config = npz.get_config("tokens")
    config.network.update(dim=8, layers=1, head_dim=8)
    config.optimizer.warmup_steps = 1
    config.train.update(steps=2, batch_size=4, sample_every_steps=0)
    config.checkpoint.every_steps = 2
    config.sample.update(steps=2, batch_size=4)
    config.data.path = str(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", tokens=np.arange(20).reshape(10, 2) % 5)
    train(config, tmp_path / "run")
    np.savez(tmp_path / "x.npz", tokens=np.arange(40).reshape(20, 2) % 5)
    config.train.steps = 4
    with pytest.raises(UsageError, match="was trained on 9 examples, but the data now hold 18"):
        train(config, tmp_path / "run")


def test_a_changed_config_is_refused_and_changes_nothing(finished_run, make_config):
    before = (finished_run / "config.json").read_text()
    with pytest.raises(UsageError, match=r"config.optimizer.learning_rate: 0.002 in the workdir, 0.5 now"):
        train(make_config(**{"optimizer.learning_rate": 0.5}), finished_run)
    assert (finished_run / "config.json").read_text() == before


@pytest.mark.slow
def test_training_learns_the_digits(make_config, tmp_path):
    config = make_config(**{"train.steps": 60, "train.batch_size": 64, "train.log_every_steps": 10})
    config.optimizer.learning_rate = 3e-3
    train(config, tmp_path)
    curve = losses(tmp_path)
    assert curve[60] < 0.6 * curve[10]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.steps": 0}, "train.steps is 0"),
        ({"train.log_every_steps": 0}, "train.log_every_steps is 0"),
        ({"checkpoint.keep": 0}, "checkpoint.keep is 0"),
        ({"train.batch_size": 15}, r"15 \* 0.5 must be an integer"),
        ({"seed": -1}, "config.seed is -1"),
        ({"optimizer.ema_decay": 1.5}, "ema_decay is 1.5"),
        ({"network.dropout": 1.0}, "config.network.dropout is 1.0"),
        ({"data.prefetch_batches": -1}, "prefetch_batches is -1"),
        ({"sample.batch_size": 0}, "sample.batch_size is 0"),
        ({"sample.sampler": "euler"}, "unknown sampler 'euler'"),
        ({"sample.schedule": "square"}, "sample.schedule is 'square'; it must be one of"),
        ({"sample.guidance": 1.0, "diffusion.label_dropout": 0.0}, "guidance is 1.0; it requires"),
        ({"network.multipliers": (1, 1, 1, 1, 1)}, "cannot be halved"),
        ({"optimizer.warmup_steps": 100, "optimizer.schedule": "cosine"}, "needs more steps"),
        ({"bits.encoding": "grey"}, "bits.encoding is 'grey'"),
    ],
)
def test_bad_configs_fail_before_anything_is_written(make_config, tmp_path, changes, message):
    with pytest.raises(UsageError, match=message):
        train(make_config(**changes), tmp_path / "run")
    assert not (tmp_path / "run" / "config.json").exists()
