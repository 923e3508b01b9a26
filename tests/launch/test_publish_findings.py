"""Publishing findings: those of several folders are merged, with their provenance and plots."""

import numpy as np
import pytest

from bitdiff.claims import findings_report
from bitdiff.claims.claim import Claim, Score, better
from bitdiff.claims.measure_claim import Measured

_CLAIM = Claim(
    statement="A is better than B.",
    paper="none.",
    score=Score("s", "distance"),
    points=(),
    x_label="steps",
    evidence={"A is better": better("A", "B", (1, 2))},
    num_samples=10,
    scale="More.",
)


def write_finding(folder, name, factor, seeds=(0, 1, 2)):
    folder.mkdir()
    values = {(line, x): np.array([1.0, 1.1, 1.2]) * (factor if line == "A" else 1) for line in "AB" for x in (1, 2)}
    minutes = findings_report.Minutes({f"a_{seed}": 1.0 for seed in seeds}, jobs=1, measuring=2.0)
    found = findings_report.finding(_CLAIM, Measured(values, None, [], {}, {}), seeds, minutes, "abc1234")
    findings_report.write(folder, {name: found})


def test_findings_are_merged_with_their_provenance(launch_script, tmp_path, monkeypatch):
    script = launch_script("publish_findings")
    monkeypatch.setenv("HARDWARE", "a machine")
    write_finding(tmp_path / "one", "first", 0.5)
    write_finding(tmp_path / "two", "second", 2.0)
    results = tmp_path / "results"
    assert script.publish(tmp_path / "one", results) == ["first"]
    assert script.publish(tmp_path / "two", results) == ["second"]
    before = (results / "findings.json").read_text()
    monkeypatch.setenv("HARDWARE", "another machine")
    assert script.publish(tmp_path / "two", results) == []  # it keeps its provenance
    found = findings_report.read(tmp_path / "two")
    found["second"]["provenance"] |= {"date": "2030-01-01", "jax": "another version"}  # as if only reported again
    findings_report.write(tmp_path / "two", found)
    assert script.publish(tmp_path / "two", results) == []
    assert (results / "findings.json").read_text() == before
    found = findings_report.read(results)
    assert {name: one["verdict"] for name, one in found.items()} == {"first": "holds", "second": "does not hold"}
    assert {path.name for path in results.iterdir()} == {"findings.json", "first.png", "second.png"}
    text = findings_report.markdown(found, "results/findings/", not_run=["Another claim."])
    assert "| Another claim. | not yet run |" in text
    assert "![distance](results/findings/first.png)" in text
    assert "; commit abc1234, " in text
    assert "; a machine; jax " in text
    checksums = {name: findings_report.checksum(one) for name, one in found.items()}
    assert len(set(checksums.values())) == 2
    remarks = {name: {"checksum": checksums["first"], "text": "Seen at all steps."} for name in found}
    text = findings_report.markdown(found, remarks=remarks)
    assert "**Holds.** Seen at all steps. Reference: none." in text
    assert "**Does not hold.** Reference: none." in text  # a remark on other results is not shown
    write_finding(tmp_path / "fewer", "first", 0.5, seeds=(0,))
    with pytest.raises(SystemExit, match="has 1 seeds of first; 3 are published"):
        script.publish(tmp_path / "fewer", results)
    with pytest.raises(SystemExit, match=r"holds no findings\.json"):
        script.publish(tmp_path / "none", results)
