"""The library's model: sampling with keyword arguments, and error messages for bad ones."""

import jax
import numpy as np
import pytest

import bitdiff
from bitdiff import data
from bitdiff.data import from_arrays
from bitdiff.inference.exporting import export_model
from bitdiff.networks import Transformer
from bitdiff.runtime.errors import UsageError


@pytest.fixture(scope="module")
def model(finished_run):
    return bitdiff.load(finished_run)


def test_samples_are_arrays_by_name(model):
    samples = model.sample(6, labels=[3, 7], steps=2, seed=4, batch_size=4)
    assert samples["image"].shape == (6, 8, 8, 1)
    assert samples["label"].tolist() == [3, 7] * 3
    again = model.sample(3, labels=[3, 7], steps=2, seed=4)
    np.testing.assert_array_equal(again["image"], samples["image"][:3])
    known = np.full((1, 8, 8, 1), -1)
    known[:, :2] = 9
    assert (model.sample(2, known=known, steps=2)["image"][:, :2] == 9).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"step": 3}, r"unknown sampling options \['step'\]; valid options are: sampler, steps"),
        ({"labels": [10]}, "are not among the 10 classes"),
        ({"image_guidance": 1.0}, "image_guidance is 1.0; it requires a model conditioned on pictures"),
        ({"images": np.zeros((1, 8, 8, 1), np.uint8)}, "can only be conditioned on examples with known"),
        ({"images": np.zeros((1, 8, 8), np.uint8)}, r"they must be uint8 \[N, 8, 8, 1\]"),
        ({"images": np.full((1, 8, 8, 1), 17, np.uint8)}, "all values must be below 17"),
        ({"known": np.zeros((0, 8, 8, 1), int)}, "images, known or examples are empty"),
        ({"known": np.full((1, 8, 8, 1), 3.7)}, "have dtype float64; they must be integers"),
        ({"seed": -1}, "seed -1; they must be"),
        ({"images": np.zeros(1), "known": np.zeros(1)}, "only one of images, known and examples"),
        ({"batch_size": 0}, "batch size is 0"),
    ],
)
def test_bad_arguments_are_reported(model, arguments, message):
    with pytest.raises(UsageError, match=message):
        model.sample(1, **{"steps": 2} | arguments)


def test_raw_weights_are_those_of_the_last_step(model, finished_run, tmp_path):
    raw = bitdiff.load(finished_run, weights="raw")
    assert (model.weights, raw.weights) == ("ema", "raw")
    differences = [
        float(abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (model.params, raw.params)), strict=True)
    ]
    assert max(differences) > 1e-4
    with pytest.raises(UsageError, match="unknown weights 'mean'; valid names are: ema, raw"):
        bitdiff.load(finished_run, weights="mean")
    with pytest.raises(UsageError, match="only the moving average can be exported"):
        export_model(raw, tmp_path / "out")
    with pytest.raises(UsageError, match="which holds the moving average"):
        bitdiff.load("digits", weights="raw")


def test_a_folder_without_a_run_does_not_hide_a_shipped_model(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits").mkdir()
    assert bitdiff.load("digits").config.data.name == "digits"


@pytest.mark.slow
def test_fit_keeps_a_run_in_its_workdir_and_resumes_it(tmp_path, make_config):
    config = bitdiff.load_config("npz:tokens")
    config.network.update(dim=8, layers=1, head_dim=8)
    config.optimizer.warmup_steps = 1
    config.train.update(steps=2, batch_size=4, sample_every_steps=0)
    config.sample.update(steps=2, batch_size=4)
    dataset = from_arrays({"tokens": np.arange(40).reshape(20, 2) % 5})
    model = bitdiff.fit(config, dataset, workdir=tmp_path)
    assert model.step == 2
    config.train.steps = 3
    assert bitdiff.fit(config, dataset, workdir=tmp_path).step == 3
    np.testing.assert_array_equal(bitdiff.load(tmp_path).params["params"]["positions"].shape, (2, 8))
    with pytest.raises(UsageError, match=r"config.task is 'tokens', but the data .* require 'config.task=images'"):
        bitdiff.fit(config, from_arrays({"image": np.zeros((20, 8, 8), np.uint8)}))


@pytest.mark.slow
def test_a_custom_network_is_passed_when_its_run_is_loaded(tmp_path):
    config = bitdiff.load_config("npz:tokens")
    config.network.update(dim=8, layers=1, head_dim=8)
    config.optimizer.warmup_steps = 1
    config.train.update(steps=1, batch_size=4, sample_every_steps=0)
    dataset = from_arrays({"tokens": np.arange(40).reshape(20, 2) % 5})
    resolved = data.resolve(config, dataset)
    task = bitdiff.make_task(resolved, network=Transformer(out_channels=3, length=2, dim=8, layers=1, head_dim=8))
    bitdiff.fit(config, dataset, task=task, workdir=tmp_path)
    with pytest.raises(UsageError, match=r"pass it to bitdiff.load as task="):
        bitdiff.load(tmp_path)
    model = bitdiff.load(tmp_path, task=task)
    assert model.config.data.vocab_size == 5  # filled in from the data
    assert model.sample(3, steps=2)["tokens"].shape == (3, 2)
