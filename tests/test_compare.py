import json

import pytest

from bitdiff import compare
from bitdiff.errors import UsageError

CELLS = [{"sampler": "ddim", "steps": steps, "td": 0.0, "guidance": 0.0} for steps in (5, 10)]


def run(seed, encoding, values, **extra):
    config = {"seed": seed, "bits.encoding": encoding, "sample.steps": seed, **extra}
    cells = {json.dumps(cell): {"swd": value} for cell, value in zip(CELLS, values, strict=False)}
    return compare.Swept(config, cells)


def test_seeds_are_taken_together():
    runs = [run(0, "uint", (1.0, 2.0)), run(1, "uint", (3.0, 2.0)), run(0, "gray", (5.0, 6.0))]
    rows = compare.group(runs)
    assert {name: len(members) for name, members in rows.items()} == {"as configured": 2, "bits.encoding=gray": 1}
    assert compare.markdown(rows, "swd").splitlines() == [
        "| swd | runs | steps 5 | steps 10 |",
        "| --- | --- | --- | --- |",
        "| as configured | 2 | 2 ± 1.4 | 2 ± 0 |",
        "| bits.encoding=gray | 1 | 5 | 6 |",
    ]


def test_only_common_cells_are_compared():
    rows = compare.group([run(0, "uint", (1.0, 2.0)), run(0, "gray", (5.0,))])
    assert "10" not in compare.markdown(rows, "swd")
    with pytest.raises(UsageError, match="no cell in common"):
        compare.markdown(compare.group([run(0, "uint", (1.0,)), run(0, "gray", ())]), "swd")
    with pytest.raises(UsageError, match="there is no score 'fid'; there are: swd"):
        compare.markdown(rows, "fid")


def test_a_run_without_a_sweep_is_named(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match=r"holds no readable sweep\.json"):
        compare.read(tmp_path)
