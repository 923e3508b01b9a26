"""The script that plans the published configs: its rows exist, and its table is made of reports and earlier rows."""

import json

import pytest

from bitdiff.configuration import load_config
from bitdiff.planning.chips import CHIPS


@pytest.fixture
def plans(launch_script):
    return launch_script("plans")


def test_rows_are_configs_and_slices_that_exist(plans):
    for name, topologies in plans.ROWS.items():
        config = load_config(name)
        assert {topology.split(":")[0] for topology in topologies} >= {"v5e", "v4"}
        assert {topology.split(":")[0] for topology in topologies} <= CHIPS.keys()
        for section in plans.DTYPES.get(name.split(":")[0], ("network",)):
            for part in section.split("."):
                config = config[part]
            assert config.dtype == "float32"
            config = load_config(name)


def test_the_table_is_made_of_reports_and_earlier_rows(plans, tmp_path):
    names = list(plans.ROWS)
    numbers = {key: 1234.5 for key, _ in plans.NUMBERS.values()} | {"binds": "compute"}
    first, second, third = ((name, plans.ROWS[name][0]) for name in names[:3])
    plans.report_of(tmp_path, *first).write_text(json.dumps({"parts": {"training": numbers}}))
    plans.report_of(tmp_path, *second).write_text(json.dumps({"parts": {"training": {"error": "out of memory"}}}))
    plans.collect(tmp_path, tmp_path)
    rows = {(row["name"], row["slice"]): row for row in json.loads((tmp_path / "plans.json").read_text())["rows"]}
    assert rows[first]["binds"] == "compute"
    assert rows[first]["scores"]["days"] == [1230.0]
    assert rows[second]["binds"] == "does not fit"
    assert rows[third]["scores"]["days"] == []
    plans.report_of(tmp_path, *first).unlink()
    plans.collect(tmp_path, tmp_path)
    again = json.loads((tmp_path / "plans.json").read_text())["rows"]
    assert [row for row in again if row["scores"].get("days")] == [rows[first]]
