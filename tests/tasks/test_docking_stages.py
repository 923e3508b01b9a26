"""The stages of docking: a prior and a confidence model start from a trained run; the latter learns from its poses."""

import shutil
from functools import partial

import jax
import numpy as np
import pytest

from bitdiff import distill
from bitdiff.configuration import load_config
from bitdiff.data import loading
from bitdiff.data.dataset import Arrays, stack
from bitdiff.data.distilled import distilled
from bitdiff.evaluation.scores import measure, open_data
from bitdiff.inference.draws import Draw
from bitdiff.inference.exporting import export_model
from bitdiff.inference.shards import Layout, write_shards
from bitdiff.inference.trained import load
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import sample_options
from bitdiff.training.trainer import train

SMALL = {
    "network.scalars": 8,
    "network.vectors": 3,
    "network.layers": 1,
    "train.steps": 2,
    "train.batch_size": 8,
    "optimizer.warmup_steps": 1,
    "sample.steps": 2,
    "sample.batch_size": 12,
}


def small_config(variant, **changes):
    config = load_config(f"docking:{variant}")
    config.update_from_flattened_dict(SMALL | changes)
    if variant != "confidence":
        config.latents.encoder.update(scalars=8, vectors=3, layers=1)
    return config


@pytest.fixture(scope="module")
def runs(complexes, tmp_path_factory):
    """A run with latents, a prior of its pointers, and 30 poses sampled from the prior."""
    folder = tmp_path_factory.mktemp("docking")
    train(small_config("disco"), folder / "disco", dataset=complexes)
    prior = small_config("prior", **{"first_run": str(folder / "disco"), "optimizer.freeze_steps": 2})
    train(prior, folder / "prior", dataset=complexes)
    run = load(folder / "prior")
    request = Draw(sample_options(run.config.sample), 30, 0, 12)
    record = partial(distill._poses, complexes.train)
    write_shards(run, request, None, folder / "poses", Layout(12, png=False), complexes.train, record)
    return folder


def section(runs, **changes):
    config = small_config("confidence")
    config.data.update({"distilled": str(runs / "poses")} | changes)
    return config.data


@pytest.mark.slow
def test_a_prior_starts_from_the_trunk_of_the_first_stage(runs):
    first, prior = (jax.device_get(load(runs / name, weights="raw").params) for name in ("disco", "prior"))
    for one, other in zip(jax.tree.leaves(first), jax.tree.leaves(prior["first"]), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-3)
    averages = load(runs / "disco", weights="ema").params["network"]["trunk"]
    for one, other in zip(*map(jax.tree.leaves, (averages, prior["prior"]["trunk"])), strict=True):
        np.testing.assert_array_equal(one, other)  # its trunk is frozen in both steps


@pytest.mark.slow
def test_sampled_poses_are_read_beside_their_complexes(runs, complexes):
    found = distilled(complexes, section(runs))
    rows, own = stack(found.train), stack(complexes.train)
    assert len(rows["sampled"]) == 30
    np.testing.assert_array_equal(rows["pose"], own["pose"][np.arange(30) % 12])
    exist = (rows["atoms"] > 0)[..., None]
    squared = np.sum((rows["sampled"] - rows["pose"]) ** 2 * exist, axis=(1, 2)) / exist.sum(axis=(1, 2))
    assert (rows["deviation"] <= np.sqrt(squared) + 1e-3).all()  # equal, unless atoms are equivalent
    assert (np.abs(rows["deviation"] - np.sqrt(squared)) < 1e-3).mean() > 0.5
    assert "30 poses sampled at step 2" in found.about


@pytest.mark.slow
def test_poses_of_other_complexes_are_rejected(runs, complexes, tmp_path):
    with pytest.raises(UsageError, match=r"was sampled with data.builder '', but config.data.builder is 'molecules'"):
        distilled(complexes, section(runs, builder="molecules"))
    order = np.roll(np.arange(len(complexes.train)), 1)
    shifted = complexes._replace(train=Arrays({name: array[order] for name, array in stack(complexes.train).items()}))
    with pytest.raises(UsageError, match=r"was sampled in other complexes: training complex 0 differs"):
        distilled(shifted, section(runs))
    fewer = complexes._replace(train=Arrays({name: array[:3] for name, array in stack(complexes.train).items()}))
    with pytest.raises(UsageError, match=r"for complexes up to 11; the data have .* for complexes 0 to 2"):
        distilled(fewer, section(runs))
    (tmp_path / "samples.json").write_text((runs / "poses" / "samples.json").read_text())
    with pytest.raises(UsageError, match=r"holds no poses; write them with bitdiff.distill"):
        distilled(complexes, section(runs, distilled=str(tmp_path)))
    config = small_config("disco")
    config.data.distilled = str(runs / "poses")
    with pytest.raises(UsageError, match="only confidence models are trained on sampled poses"):
        loading.resolve(config, complexes)
    config = small_config("confidence", first_run=str(runs / "prior"))
    with pytest.raises(UsageError, match=r"write them with bitdiff.distill, and pass the folder as --config.data"):
        train(config, tmp_path / "confidence", dataset=complexes)


@pytest.mark.slow
def test_poses_that_are_not_finite_are_left_out(runs, complexes, tmp_path):
    shutil.copytree(runs / "poses", tmp_path / "poses")
    shard = sorted((tmp_path / "poses").glob("*.npz"))[0]
    arrays = dict(np.load(shard))
    arrays["invalid"][[2, 5]] = 0.5
    np.savez(shard, **arrays)
    found = distilled(complexes, section(runs, distilled=str(tmp_path / "poses")))
    np.testing.assert_array_equal(
        [row["sampled"] for row in found.train][:10], np.delete(arrays["pose"], [2, 5], 0)[:10]
    )
    assert "28 poses" in found.about


@pytest.mark.slow
def test_a_confidence_model_is_trained_evaluated_and_exported(runs, complexes, tmp_path, monkeypatch):
    config = small_config("confidence", first_run=str(runs / "prior"))
    config.data.distilled = str(runs / "poses")
    train(config, tmp_path / "confidence", dataset=distilled(complexes, config.data))
    run = load(tmp_path / "confidence")
    assert run.config.first.task == "prior"
    trained, prior = jax.device_get(run.params), jax.device_get(load(runs / "prior").params)
    trunks = (jax.tree.leaves(params["trunk"]) for params in (trained["confidence"], prior["first"]["network"]))
    for one, other in zip(*trunks, strict=True):
        np.testing.assert_allclose(one, other, atol=0.02)  # two steps change it by little
    draw = Draw(sample_options(run.config.sample), 72, 0, 12)
    scores, outputs = measure(run, draw, complexes, [])
    assert {"top1_below_2", "top1_known_below_2", "top5_below_2", "confidence_accuracy"} <= scores.keys()
    assert "pointers_agree" in scores
    assert outputs["confidence"].shape == (72,)
    with pytest.raises(UsageError, match="a confidence model requires the workdir of a docking run"):
        train(small_config("confidence"), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    run.config.first.first.data.path = str(tmp_path / "data")
    export_model(run, tmp_path / "exported")
    assert str(tmp_path) not in (tmp_path / "exported" / "config.json").read_text()
    assert str(runs) not in (tmp_path / "exported" / "config.json").read_text()
    assert "python -m bitdiff.sample --workdir exported" in (tmp_path / "exported" / "README.md").read_text()
    monkeypatch.setitem(loading.LOADERS, "pockets", lambda options: complexes)
    opened, dataset = open_data(load(tmp_path / "exported"))
    assert dataset is complexes  # the poses that the model was trained on are not read
    np.testing.assert_allclose(measure(opened, draw, dataset, [])[1]["pose"], outputs["pose"], atol=1e-4)
    config.checkpoint.keep_best = 1
    with pytest.raises(UsageError, match="no poses were sampled for the test complexes; use 'loss'"):
        train(config, tmp_path / "best", dataset=distilled(complexes, config.data))
    other = small_config("confidence", first_run=str(runs / "disco"))
    other.data.update(distilled=str(runs / "poses"), atom_types=23)
    with pytest.raises(UsageError, match="atom_types"):
        train(other, tmp_path / "other", dataset=distilled(complexes, config.data))
