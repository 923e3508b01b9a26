"""Exports: the same samples as the run they come from, and one clear error for each kind of damage."""

import json
import shutil

import numpy as np
import pytest

import bitdiff
from bitdiff.evaluation.scores import open_data
from bitdiff.inference.exporting import export_model
from bitdiff.inference.model_card import read_evaluation
from bitdiff.runtime.errors import UsageError


@pytest.fixture
def export(finished_run, tmp_path):
    folder = tmp_path / "model"
    export_model(bitdiff.load(finished_run), folder)
    return folder


@pytest.mark.slow
def test_an_export_draws_the_same_samples_as_its_run(export, finished_run):
    run, model = bitdiff.load(finished_run), bitdiff.load(export)
    assert model.step == run.step == 6
    assert sorted(path.name for path in export.iterdir()) == ["README.md", "config.json", "weights.safetensors"]
    expected, samples = (m.sample(5, labels=[3], steps=2, seed=1) for m in (run, model))
    np.testing.assert_array_equal(samples["image"], expected["image"])
    assert "Not evaluated at this step" in (export / "README.md").read_text()


@pytest.mark.slow
def test_the_command_writes_the_scores_into_the_card(command, finished_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished_run, run)
    score = {"value": 0.25, "about": "fraction of something"}
    provenance = {"step": 6, "data": "digits", "reference": None, "workdir": "somewhere"}
    (run / "evaluation.json").write_text(json.dumps({"scores": {"some_score": score}, "provenance": provenance}))
    code, output = command("export", "--workdir", run, "--out", tmp_path / "model")
    assert code == 0, output
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| some_score | 0.25 | fraction of something |" in card
    assert 'data: "digits"' in card
    assert "somewhere" not in card
    code, output = command("export", "--workdir", tmp_path / "model", "--out", run)
    assert code == 2
    assert "holds other files" in output


def test_an_export_holds_no_paths_and_keeps_its_scores(finished_run, tmp_path):
    run = bitdiff.load(finished_run)
    run.config.data.path = str(tmp_path / "data")
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    report = {"scores": {"a": {"value": 1.0, "about": "b"}}, "provenance": {"step": 6, "workdir": str(copy)}}
    (copy / "evaluation.json").write_text(json.dumps(report))
    export_model(run._replace(folder=copy), tmp_path / "first")
    export_model(bitdiff.load(tmp_path / "first"), tmp_path / "second")
    for folder in (tmp_path / "first", tmp_path / "second"):
        assert "| a | 1 | b |" in (folder / "README.md").read_text()
        for name in ("config.json", "evaluation.json", "README.md"):
            assert str(tmp_path) not in (folder / name).read_text()


def test_the_data_of_an_exported_model_can_be_at_another_path(finished_run, tmp_path):
    run = bitdiff.load(finished_run)
    with pytest.raises(UsageError, match="'digits' is not read from a path"):
        open_data(run, str(tmp_path))
    run.config.data.update(name="npz", path=str(tmp_path / "old.npz"), test_fraction=0.1)
    export_model(run, tmp_path / "model")
    images = np.random.default_rng(0).integers(0, run.config.data.vocab_size, (40, 8, 8, 1), dtype=np.uint8)
    np.savez(tmp_path / "new.npz", image=images, label=np.arange(40) % 10)
    opened, dataset = open_data(bitdiff.load(tmp_path / "model"), str(tmp_path / "new.npz"))
    assert opened.config.data.path == str(tmp_path / "new.npz")
    assert len(dataset.train) == 36


@pytest.mark.slow
def test_reports_about_an_export_are_written_elsewhere(command, export, tmp_path):
    code, output = command("evaluate", "--workdir", export, "--num_samples", 20, cwd=tmp_path)
    assert code == 0, output
    assert (tmp_path / "evaluation.json").exists()
    assert not (export / "evaluation.json").exists()


def test_damaged_exports_are_reported(export, tmp_path):
    with pytest.raises(UsageError, match="--checkpoint and --weights are for workdirs"):
        bitdiff.load(export, checkpoint="6")
    config = json.loads((export / "config.json").read_text())
    config["network"]["dim"] = 16
    (export / "config.json").write_text(json.dumps(config))
    with pytest.raises(UsageError, match=r"do not fit its config.json: params/"):
        bitdiff.load(export)
    (export / "weights.safetensors").write_bytes(b"not weights")
    with pytest.raises(UsageError, match=r"weights.safetensors cannot be read"):
        bitdiff.load(export)
    (tmp_path / "evaluation.json").write_text("[]")
    with pytest.raises(UsageError, match=r"write it again with bitdiff.evaluate"):
        read_evaluation(tmp_path)


def test_the_shipped_model_is_small_and_evaluated():
    model = bitdiff.load("digits")
    assert sum(path.stat().st_size for path in model.folder.iterdir()) < 3e6
    assert "classifier_accuracy" in (model.folder / "README.md").read_text()
    assert model.config.data.name == "digits"
