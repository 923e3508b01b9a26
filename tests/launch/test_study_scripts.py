"""The scripts that reproduce results: their models exist, and their results come from the sweeps."""

import ast
import importlib
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT

from bitdiff import data
from bitdiff.configs import shapes_disco
from bitdiff.configuration import load_config
from bitdiff.configuration.checking import check_config
from bitdiff.data.dataset import stack
from bitdiff.evaluation.sweep_cells import AXES
from bitdiff.tasks import make_task

sys.path.insert(0, str(ROOT / "launch"))
codes, study = (importlib.import_module(name) for name in ("codes", "study"))
STUDIES = {name: importlib.import_module(name).STUDY for name in ("captions", "docking", "options", "texts")}
MODELS = [(script, name) for script, one in STUDIES.items() for name in one.names]


@pytest.mark.parametrize(("script", "name"), MODELS)
def test_models_override_fields_that_exist(script, name):
    one = STUDIES[script]
    model = one.entries(name)[0][1]
    config = load_config(model.config)
    changes = {}
    assert {*model.needs, *model.judges} <= {*one.names, *one.made}
    for argument in model.arguments:
        field, _, value = argument.removeprefix("--config.").partition("=")
        before = config
        for part in field.split("."):
            before = before[part]
        if "{" in value:
            assert value.strip("{}") in model.needs
        else:
            changes[field] = value if isinstance(before, str) else type(before)(ast.literal_eval(value))
    config.update_from_flattened_dict(changes)
    check_config(config)
    if not model.needs and config.data.vocab_size and config.data.length:
        make_task(config)
    assert set(model.then) <= set(one.made)
    for cell in (cell for _, model in one.entries(name) for cell in model.cells.values()):
        assert {option.removeprefix("--") for option in cell[::2]} <= {*AXES, "baseline"}


def _write_runs(out, name, *, seeds, commit):
    """Writes what training and sweeping leave behind in the run of each seed."""
    for seed in seeds:
        folder = out / f"{name}_{seed}"
        folder.mkdir()
        record = {"minutes": 4.0 + 2 * seed, "finished": True, "commit": commit}
        (folder / "minutes.json").write_text(json.dumps(record))
        cells = {json.dumps({"beams": beams, "churn_fraction": 0.0}): {"true": 0.9 + 0.01 * seed} for beams in (1, 3)}
        report = {"cells": cells, "provenance": {"date": f"2026-01-0{seed + 1}T10:00:00"}}
        (folder / "sweep.json").write_text(json.dumps(report))


def test_results_are_collected_by_seed(tmp_path):
    _write_runs(tmp_path, "ar_one", seeds=(0, 1), commit="abc")
    study.collect(STUDIES["captions"], tmp_path, "captions", [0, 1, 2], tmp_path)
    study.collect(STUDIES["captions"], tmp_path, "captions_blocks", [0, 1, 2], tmp_path)
    assert not (tmp_path / "captions_blocks.json").exists()  # nothing was measured
    report = json.loads((tmp_path / "captions.json").read_text())
    assert (report["commit"], report["date"], report["seeds"]) == ("abc", "2026-01-02", [0, 1])
    rows = [row for row in report["rows"] if row["seeds"]]
    assert {row["name"] for row in rows} == {"autoregressive, one caption"}
    assert [row["evaluations"] for row in rows] == ["13 (greedy)", "13 (3 beams)"]
    assert rows[0]["seeds"] == [0, 1]
    assert rows[0]["minutes"] == "5"
    assert rows[0]["scores"]["true, %"] == [90.0, 91.0]


def test_rows_without_runs_keep_their_published_scores(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    for name, seeds, commit in (("ar", (0, 1), "abc"), ("ar_one", (0,), "def")):
        runs = tmp_path / f"runs_{name}"
        runs.mkdir()
        _write_runs(runs, name, seeds=seeds, commit=commit)
        study.collect(STUDIES["captions"], runs, "captions", [0, 1, 2], results)
    report = json.loads((results / "captions.json").read_text())
    assert (report["commit"], report["date"], report["seeds"]) == ("abc, def", "2026-01-02", [0, 1])
    rows = {row["name"]: row for row in report["rows"] if row["seeds"]}
    assert set(rows) == {"autoregressive, six captions", "autoregressive, one caption (seed 0)"}
    assert rows["autoregressive, six captions"]["scores"]["true, %"] == [90.0, 91.0]


def test_seeds_without_runs_keep_their_published_scores(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    for seeds, commit in (((1, 2), "abc"), ((0, 1), "def")):
        runs = tmp_path / f"runs_{commit}"
        runs.mkdir()
        _write_runs(runs, "ar_one", seeds=seeds, commit=commit)
        study.collect(STUDIES["captions"], runs, "captions", [0, 1, 2], results)
    report = json.loads((results / "captions.json").read_text())
    assert (report["commit"], report["seeds"]) == ("abc, def", [0, 1, 2])
    row = next(row for row in report["rows"] if row["seeds"])
    assert row["scores"]["true, %"] == [90.0, 91.0, 92.0]
    assert row["minutes"] == "6"  # the mean of 4, 6 and 8, where the earlier seeds count with their mean, 7
    assert row["seeds"] == [0, 1, 2]


def test_the_table_of_codes_counts_the_forms_that_have_each_code(monkeypatch, tmp_path):
    config = shapes_disco.get_config()
    there = data.load(config.data).tokenizer.encode("there", 2)[0]
    # A first stage whose latent is 1 for the two forms that begin with "there".
    task = SimpleNamespace(infer=lambda params, tokens, keys: (tokens[:, :1] == there).astype(np.int32))
    monkeypatch.setattr(codes, "load", lambda folder: SimpleNamespace(config=config, task=task, params=None))
    monkeypatch.setattr(codes, "PICTURES", 3)
    monkeypatch.setattr(sys, "argv", ["codes.py", "--workdir", "run", "--results", str(tmp_path)])
    codes.main()
    report = json.loads((tmp_path / "captions_codes.json").read_text())
    percent = {row["name"]: [value for (value,) in row["scores"].values()] for row in report["rows"]}
    assert percent == {"0": [100.0] * 4 + [0.0] * 2, "1": [0.0] * 4 + [100.0] * 2}
    assert "0.637 nats" in report["about"]  # the entropy of one third against two thirds


@pytest.mark.slow
@pytest.mark.parametrize("builder", ["", "molecules"])
def test_the_docking_captions_count_the_poses_in_the_strong_pocket(builder):
    if builder:
        pytest.importorskip("rdkit")
    docking = importlib.import_module("docking")
    test = stack(data.load(load_config(f"docking:{builder and 'molecules_'}plain").data).test)
    assert len(test["pocket"]) == docking.TEST_COMPLEXES
    assert np.sum(test["pocket"] == 0) == docking.STRONG_COMPLEXES[builder]
