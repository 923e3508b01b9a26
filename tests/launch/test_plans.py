"""The script that plans the published configs: its rows exist, and its table is made of reports and earlier rows."""

import json
import math

import pytest

from bitdiff.configuration import load_config
from bitdiff.planning.chips import CHIPS
from bitdiff.planning.programs import training_rows


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


def test_batches_divide_by_the_slices(plans):
    for name, topologies in plans.ROWS.items():
        for topology in topologies:
            config = load_config(name)
            for change in plans.CHANGES.get((name, topology), []):
                field, value = change.removeprefix("--config.").split("=")
                config.update_from_flattened_dict({field: int(value)})
            devices = math.prod(map(int, topology.split(":")[1].split("x")))
            assert training_rows(config, devices) * devices == config.train.batch_size


def write_report(plans, folder, name, topology, numbers, date, part="training"):
    report = {"parts": {part: numbers}, "versions": {"libtpu": "0.1"}, "commit": "abc1234", "date": date}
    plans.report_of(folder, name, topology, part).write_text(json.dumps(report))


def test_the_tables_are_made_of_reports_and_earlier_rows(plans, tmp_path):
    names = list(plans.ROWS)
    numbers = {key: 1234.5 for key, _ in (plans.NUMBERS | plans.SAMPLING).values()} | {"binds": "compute"}
    first, second, third = ((name, plans.ROWS[name][0]) for name in names[:3])

    def rows(table="plans"):
        plans.collect(tmp_path, tmp_path)
        return {
            (row["name"], row["slice"]): row for row in json.loads((tmp_path / f"{table}.json").read_text())["rows"]
        }

    write_report(plans, tmp_path, *first, numbers, "2026-01-02T00:00:00")
    write_report(plans, tmp_path, *second, {"error": "out of memory"}, "2026-01-02T00:00:00")
    found = rows()
    assert found[first]["binds"] == "compute"
    assert found[first]["commit"] == "abc1234"
    assert found[first]["scores"]["days"] == [1230.0]
    assert found[second]["binds"] == "does not fit"
    assert found[third]["scores"]["days"] == []
    content = json.loads((tmp_path / "plans.json").read_text())
    assert (content["commit"], content["date"], content["versions"]["libtpu"]) == ("abc1234", "2026-01-02", "0.1")
    plans.report_of(tmp_path, *first).unlink()
    assert rows()[first] == found[first]
    write_report(plans, tmp_path, *first, numbers | {"days": 1.0}, "2026-01-01T00:00:00")  # an older report
    assert rows()[first] == found[first]
    write_report(plans, tmp_path, *first, numbers | {"days": 1.0}, "2026-01-03T00:00:00")
    assert rows()[first]["scores"]["days"] == [1.0]
    name = next(iter(plans.SAMPLED))
    write_report(plans, tmp_path, name, plans.SAMPLED[name][0], numbers, "2026-01-01T00:00:00", "sampling")
    assert rows("plans_sampling")[name, plans.SAMPLED[name][0]]["scores"]["HBM traffic / a network evaluation's"]
