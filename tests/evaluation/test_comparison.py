import json
import shutil

import pytest
from conftest import tiny_config

from bitdiff import compare
from bitdiff.configuration import base_config
from bitdiff.evaluation import comparison, sweep_cells, sweep_tables
from bitdiff.evaluation.scores import open_data
from bitdiff.evaluation.sweep_cells import cells, name_of, options_of, read_sweep
from bitdiff.evaluation.sweep_tables import grids
from bitdiff.inference import trained
from bitdiff.inference.draws import Draw
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import sample_options
from bitdiff.training import workdir

CELLS = [sample_options(base_config().sample, steps=steps) for steps in (5, 10)]


def run(seed, encoding, values, **measured_on):
    config = {"seed": seed, "bits.encoding": encoding}
    cells = {cell: {"swd": value} for cell, value in zip(CELLS, values, strict=False)}
    return comparison.Swept(f"{encoding}_{seed}", config, {"num_samples": 500} | measured_on, cells)


def test_runs_that_differ_only_in_the_seed_are_averaged():
    runs = [run(0, "uint", (1.0, 2.0)), run(1, "uint", (3.0, 2.0)), run(0, "gray", (5.0, 6.0))]
    rows = comparison.group(runs)
    assert {name: len(members) for name, members in rows.items()} == {"as configured": 2, "bits.encoding=gray": 1}
    assert comparison.markdown(rows, "swd").splitlines() == [
        "| swd | runs | steps 5 | steps 10 |",
        "| --- | --- | --- | --- |",
        "| as configured | 2 | 2 ± 1.4 | 2 ± 0 |",
        "| bits.encoding=gray | 1 | 5 | 6 |",
    ]


def test_a_cell_missing_from_a_row_stays_empty():
    rows = comparison.group([run(0, "uint", (1.0, 2.0)), run(1, "uint", (3.0,)), run(0, "gray", (5.0, 6.0))])
    assert comparison.markdown(rows, "swd").splitlines()[2:] == [
        "| as configured | 2 | 2 ± 1.4 |  |",
        "| bits.encoding=gray | 1 | 5 | 6 |",
    ]
    with pytest.raises(UsageError, match="row 'as configured' have no cell in common"):
        comparison.markdown(comparison.group([run(0, "uint", (1.0,)), run(1, "uint", ())]), "swd")
    with pytest.raises(UsageError, match="there is no score 'fid'; valid names are: swd"):
        comparison.markdown(rows, "fid")


def test_incomparable_runs_are_refused():
    with pytest.raises(UsageError, match="uint_0 and gray_0 are not comparable: their num_samples is 500 and 20"):
        comparison.group([run(0, "uint", (1.0,)), run(0, "gray", (1.0,), num_samples=20)])
    with pytest.raises(UsageError, match="are the same run with the seed 0"):
        comparison.group([run(0, "uint", (1.0,)), run(0, "uint", (1.0,))])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": {"x": {}}, "provenance": {}}', '{"cells": 3}'])
def test_a_run_without_a_sweep_is_reported(tmp_path, content):
    workdir.save_config(tmp_path, tiny_config())
    with pytest.raises(UsageError, match=r"there is no .*sweep.json; write one with bitdiff.sweep"):
        comparison.read(tmp_path)
    (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(UsageError, match=r"sweep.json holds no readable sweep"):
        comparison.read(tmp_path)


def test_patterns_match_folders_with_a_sweep(tmp_path, capsys):
    for name in ("one", "other", "third"):
        (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=r"no folder .* holds a sweep.json; write one with bitdiff.sweep"):
        compare.find_folders([f"{tmp_path}/*"])
    for name in ("one", "third"):
        (tmp_path / name / "sweep.json").write_text("{}")
    assert compare.find_folders([f"{tmp_path}/*"]) == [tmp_path / "one", tmp_path / "third"]
    assert f"without a sweep.json, and left out: {tmp_path / 'other'}" in capsys.readouterr().err
    assert compare.find_folders([f"{tmp_path}/other"]) == [tmp_path / "other"]  # named, so its error is reported later
    with pytest.raises(UsageError, match="there is no folder"):
        compare.find_folders([f"{tmp_path}/none*"])


def test_grids_arrange_scores_by_steps_and_td():
    base = sample_options(base_config().sample)
    combinations = cells(base, {"steps": [5, 10], "td": [0.0, 2.0], "lag": [0.0]})
    rows = [(cell, {"swd": float(i)}) for i, cell in enumerate(combinations)]
    rows += [(base._replace(steps=5, td=0.0, lag=1.0), {"swd": 9.0})]  # the only cell of its table, which is left out
    text = grids(rows[1:], "swd")
    assert text.splitlines()[1:] == [
        "sampler ddim, schedule auto, lag 0.0, churn_fraction 0.0, guidance 0.0, image_guidance 0.0, "
        "latent_guidance 0.0, self_guidance 0.0, momentum 0.0, temperature 1.0, beams 1",
        "",
        "| swd: steps | td 0 | td 2 |",
        "| --- | --- | --- |",
        "| 5 |  | 1 |",
        "| 10 | 2 | 3 |",
    ]
    assert grids(rows, "other") == ""


def test_a_cells_name_contains_all_of_its_options():
    for options in CELLS:
        assert options_of(name_of(options)) == options
        assert json.loads(name_of(options))["steps"] == options.steps


def test_cells_without_a_later_option_take_its_default():
    given = json.loads(name_of(CELLS[0]))
    del given["temperature"]
    assert options_of(json.dumps(given)) == CELLS[0]
    del given["steps"]
    with pytest.raises(TypeError, match="steps"):
        options_of(json.dumps(given))


def test_priors_sampled_differently_are_separate_rows(tmp_path):
    for seed, steps in enumerate((10, 10, 5)):
        folder = tmp_path / str(seed)
        folder.mkdir()
        workdir.save_config(folder, tiny_config(seed=seed))
        provenance = {"prior": {"model": "bits", "sample": CELLS[0]._replace(steps=steps)._asdict()}}
        report = {"provenance": provenance, "cells": {name_of(CELLS[0]): {"swd": 1.0}}}
        (folder / "sweep.json").write_text(json.dumps(report))
    rows = comparison.group([comparison.read(tmp_path / str(seed)) for seed in range(3)])
    assert {name: len(members) for name, members in rows.items()} == {"as configured": 2, "prior.sample.steps=5": 1}


def test_cells_of_a_concurrent_sweep_with_another_provenance_are_not_merged(tmp_path):
    path, cell = tmp_path / "sweep.json", name_of(CELLS[0])
    sweep_cells._save(path, {"num_samples": 10}, {cell: {"swd": 1.0}})
    sweep_cells._save(path, {"num_samples": 10, "date": "later"}, {name_of(CELLS[1]): {"swd": 2.0}})
    before = path.read_text()
    assert set(read_sweep(path)["cells"]) == {cell, name_of(CELLS[1])}
    with pytest.raises(UsageError, match="another sweep, with a different provenance, has written to"):
        sweep_cells._save(path, {"num_samples": 20}, {cell: {"swd": 3.0}})
    assert path.read_text() == before


def test_sweeps_of_exported_models_depend_on_the_weights(tmp_path):
    run, dataset = open_data(trained.load("digits"))
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    weights = copy / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    base = Draw(CELLS[0], 20, 0, 20)
    found = [sweep_cells.Sweep(one, dataset, [], base).identity() for one in (run, run._replace(folder=copy))]
    assert sweep_cells.comparable(found[0]) != sweep_cells.comparable(found[1])
    assert sweep_cells.comparable(found[0] | {"export": found[1]["export"]}) == sweep_cells.comparable(found[1])


def test_curves_of_different_options_are_separate():
    base = sample_options(base_config().sample)
    changes = [{"momentum": 0.3}, {"momentum": 0.5}, {"beams": 3}, {}]
    rows = [(base._replace(**change), {"swd": float(i)}) for i, change in enumerate(changes)]
    assert len(sweep_tables.curves(rows, "swd")) == 4


def test_sweeps_without_a_later_option_are_those_of_the_same_model(tmp_path):
    prior = {"model": "bits", "sample": CELLS[0]._asdict()}
    path = tmp_path / "sweep.json"
    path.write_text(json.dumps({"provenance": {"prior": prior}, "cells": {name_of(CELLS[0]): {"swd": 1.0}}}))
    now = read_sweep(path)
    del prior["sample"]["temperature"]
    given = {name: value for name, value in json.loads(name_of(CELLS[0])).items() if name != "temperature"}
    path.write_text(json.dumps({"provenance": {"prior": prior}, "cells": {json.dumps(given): {"swd": 1.0}}}))
    assert read_sweep(path) == now
