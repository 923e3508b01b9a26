"""The result tables of the documents, and the files they are generated from."""

import json
import runpy
import sys

import numpy as np
import pytest
from conftest import ROOT

from bitdiff.claims import findings_report
from bitdiff.data import token_pairs
from bitdiff.metrics import distributions

TABLES = runpy.run_path(str(ROOT / "launch" / "tables.py"))
RESULTS = sorted((ROOT / "configs" / "results").glob("*.json"))


@pytest.mark.parametrize("name", TABLES["DOCUMENTS"])
def test_every_table_matches_its_results(name):
    text = (ROOT / name).read_text()
    assert TABLES["rewrite"](text) == text


def test_the_findings_match_their_results():
    assert not TABLES["write_findings"](check=True)


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_every_result_states_its_provenance(path):
    results = json.loads(path.read_text())
    assert set(results) == {"about", "command", "commit", "date", "hardware", "versions", "seeds", "rows"}
    measured = [row for row in results["rows"] if any(row["scores"].values()) or row.get("summaries")]
    assert bool(results["commit"]) or not measured, "measured numbers need a commit"
    for row in results["rows"]:
        seeds = row.get("seeds", results["seeds"])
        assert set(seeds) <= set(results["seeds"])
        for values in row["scores"].values():
            assert len(values) in (0, 1, len(seeds)) or not results["seeds"]


def test_remarks_on_other_results_are_reported(launch_script, monkeypatch, capsys):
    tables = launch_script("tables")
    assert not tables.stale_remarks()
    remarks = tables._remarks()
    remarks["td"] = remarks["td"] | {"checksum": "0"}
    monkeypatch.setattr(tables, "_remarks", lambda: remarks)
    expected = findings_report.checksum(findings_report.read(tables.FINDINGS)["td"])
    assert tables.stale_remarks() == {"td": expected}
    monkeypatch.setattr(tables, "write_findings", lambda check: False)
    monkeypatch.setattr(sys, "argv", ["tables.py", "--check"])
    assert tables.main() == 1
    message = f"the remark on td was written for other results; revise it, and set its checksum to '{expected}'"
    assert message in capsys.readouterr().err


def test_cells_are_means_and_deviations():
    cell = TABLES["cell"]
    assert cell({"scores": {"a": [1.0, 2.0, 3.0]}}, "a") == "2 ± 1"
    assert cell({"scores": {"a": [0.1474]}}, "a") == "0.147"
    assert cell({"scores": {"a": []}}, "a") == "not yet run"
    assert cell({"scores": {}, "summaries": {"a": {"mean": 0.58, "std": 0.05}}}, "a") == "0.58 ± 0.05"
    assert cell({"scores": {}}, "a") == ""


def test_the_published_distances_of_token_pairs_are_those_of_the_data():
    rows = {row["name"]: row["scores"] for row in TABLES["read"]("mixture")["rows"]}
    known = token_pairs.probabilities()
    states = np.argwhere(np.ones_like(known))
    column = "to the known distribution"
    for name, seed in (("training pairs", 0), ("test pairs", 1)):
        expected = distributions.tv(token_pairs.draw(20_000, seed), states, known.ravel())
        assert rows[name][column] == [pytest.approx(expected, abs=5e-5)]
    floor = distributions.tv_floor(known.ravel(), 20_000)
    assert rows["expected for perfect samples"][column] == [pytest.approx(floor, abs=5e-5)]
