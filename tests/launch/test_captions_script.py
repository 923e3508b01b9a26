"""The script that reproduces the results on captions: its models exist, and its results come from the sweeps."""

import json
import runpy

import pytest
from conftest import ROOT

from bitdiff.configuration import load_config
from bitdiff.evaluation.sweep_cells import AXES

SCRIPT = runpy.run_path(str(ROOT / "launch" / "captions.py"))
MODELS = SCRIPT["MODELS"]


@pytest.mark.parametrize("name", MODELS)
def test_models_override_fields_that_exist(name):
    model = MODELS[name]
    config = load_config(model.config)
    assert set(model.needs) <= {*MODELS, "distilled"}
    for argument in model.arguments:
        field, _, value = argument.removeprefix("--config.").partition("=")
        before = config
        for part in field.split("."):
            before = before[part]
        if "{" in value:
            assert value.strip("{}") in model.needs
        else:
            type(before)(value)
    for cell in model.cells.values():
        assert {option.removeprefix("--") for option in cell[::2]} <= set(AXES)


def test_results_are_collected_by_seed(tmp_path, monkeypatch):
    for seed in (0, 1):
        folder = tmp_path / f"ar_one_{seed}"
        folder.mkdir()
        (folder / "minutes.json").write_text(json.dumps({"minutes": 4.0 + 2 * seed, "finished": True}))
        cells = {json.dumps({"beams": beams, "churn_fraction": 0.0}): {"true": 0.9 + 0.01 * seed} for beams in (1, 3)}
        (folder / "sweep.json").write_text(json.dumps({"cells": cells}))
    monkeypatch.setitem(SCRIPT["_collect"].__globals__, "RESULTS", tmp_path)
    SCRIPT["_collect"](tmp_path, "captions", [0, 1, 2], 300)
    rows = [row for row in json.loads((tmp_path / "captions.json").read_text())["rows"] if row["seeds"]]
    assert {row["name"] for row in rows} == {"autoregressive, one caption"}
    assert [row["evaluations"] for row in rows] == ["13 (greedy)", "13 (3 beams)"]
    assert rows[0]["seeds"] == "0, 1"
    assert rows[0]["minutes"] == "5"
    assert rows[0]["scores"]["true, %"] == [90.0, 91.0]
