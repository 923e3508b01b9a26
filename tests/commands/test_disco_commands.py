"""DisCo-Diff as a user runs it: the same commands train, resume, sample and evaluate both stages."""

import json

import numpy as np
import pytest
from PIL import Image

from bitdiff.configs import digits_disco, toy_disco
from bitdiff.configuration import presets, sections
from bitdiff.evaluation.loss_by_time import loss_by_time
from bitdiff.inference import trained
from bitdiff.inference.known_files import read_known
from bitdiff.runtime.errors import UsageError
from bitdiff.training.trainer import train

SHRINK = {"train.batch_size": 16, "train.log_every_steps": 2, "checkpoint.every_steps": 2, "sample.batch_size": 16}


def shrink(config, **changes):
    config.update_from_flattened_dict(SHRINK | changes)
    config.optimizer.update(warmup_steps=1, schedule="constant")
    for part in (config, config.first) if config.first else (config,):
        if part.network.name == "unet":
            part.network.update(dim=8, head_dim=8, multipliers=(1,), attention_resolutions=(8,))
            part.latents.encoder.update(dim=16, layers=1, head_dim=8)
            part.latents.embed.update(dim=8, layers=0)
    if config.task == "prior":
        config.network.update(dim=16, layers=1, head_dim=8)
    return config


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """Runs of both stages of the toy model, and of the plain model."""
    folder = tmp_path_factory.mktemp("toy")
    for variant in ("plain", "disco"):
        train(shrink(toy_disco.get_config(variant), **{"train.steps": 4, "sample.steps": 4}), folder / variant)
    changes = {"train.steps": 2, "sample.steps": 4, "first_run": str(folder / "disco")}
    train(shrink(toy_disco.get_config("prior"), **changes), folder / "prior")
    return folder


@pytest.fixture(scope="module")
def bits(tmp_path_factory):
    """A first stage of the toy model with six binary latents, and a Bit Diffusion prior over them."""
    folder = tmp_path_factory.mktemp("bits")
    first = toy_disco.get_config("disco")
    first.latents.update(count=6, codes=2)
    train(shrink(first, **{"train.steps": 2, "sample.steps": 2}), folder / "first")
    train(bits_prior(folder), folder / "second")
    return folder


def bits_prior(folder):
    config = toy_disco.get_config("disco")
    config.latents.update(count=6, codes=2)
    presets.second_stage(config, "bits")
    config.network = sections.transformer(dim=16, layers=1, head_dim=8)
    changes = {"train.steps": 2, "sample.steps": 2, "first_run": str(folder / "first"), "prior.sample.steps": 3}
    return shrink(config, **changes)


@pytest.mark.slow
def test_the_second_stage_contains_the_first_and_loads_without_its_workdir(toy, tmp_path):
    first, second = trained.load(toy / "disco"), trained.load(toy / "prior")
    for name, kernel in first.params["params"]["hidden0"].items():
        np.testing.assert_array_equal(second.params["first"]["params"]["hidden0"][name], kernel)
    assert second.config.first.latents.count == 1
    moved = tmp_path / "alone"
    moved.mkdir()
    for name in ("config.json", "checkpoints"):
        (moved / name).symlink_to(toy / "prior" / name)
    drawn = trained.load(moved).sample(3)
    assert drawn["point"].shape == (3, 2)


@pytest.mark.slow
def test_the_commands_run_on_the_toy_model(command, toy, tmp_path):
    code, output = command("evaluate", "--workdir", toy / "prior", "--num_samples", 64)
    assert code == 0, output
    scores = json.loads((toy / "prior" / "evaluation.json").read_text())["scores"]
    assert {"w2", "outliers", "mode_tv", "codes", "w2_real"} <= scores.keys()
    # The optimal pairing of 64 test points with 64 others costs far less than the ring's radius.
    assert scores["w2_real"]["value"] < 0.5
    out = tmp_path / "points.npz"
    code, output = command("sample", "--workdir", toy / "prior", "--num_samples", 5, "--out", out)
    assert code == 0, output
    with np.load(out, allow_pickle=False) as file:
        assert file["point"].shape == (5, 2)
        assert file["latents"].shape == (5, 1)
    runs = f"{toy / 'plain'},{toy / 'disco'}"
    picture = tmp_path / "trajectories.png"
    code, output = command("trajectories", "--workdirs", runs, "--out", picture, "--num_samples", 20, "--steps", 30)
    assert code == 0, output
    assert "mean curvature of 20 trajectories" in output
    assert Image.open(picture).size[0] > 1_000
    picture = tmp_path / "losses.png"
    code, output = command("losses", "--workdirs", runs, "--out", picture, "--examples", 64, "--rounds", 8)
    assert code == 0, output
    lines = json.loads(picture.with_suffix(".json").read_text())
    assert set(lines) == {str(toy / "plain"), str(toy / "disco")}
    assert all(len(line) == 10 for line in lines.values())


@pytest.mark.slow
def test_a_model_is_evaluated_with_churn_and_restarts(command, toy):
    flags = ["--num_samples", 64, "--steps", 6, "--churn", "2,0.05,50", "--restarts", "3:2:0.1:1"]
    code, output = command("evaluate", "--workdir", toy / "plain", *flags)
    assert code == 0, output
    sampling = json.loads((toy / "plain" / "evaluation.json").read_text())["provenance"]["sampling"]
    assert sampling["churn"] == [2.0, 0.05, 50.0]
    assert sampling["restarts"] == [[3, 2, 0.1, 1.0]]
    code, output = command("evaluate", "--workdir", toy / "plain", "--restarts", "3:2:0.1")
    assert code == 2
    assert "steps:times:low:high" in output


@pytest.mark.slow
def test_repeated_loss_measurements_agree(toy):
    run = trained.load(toy / "plain")
    line = loss_by_time(run, examples=200, rounds=4, bins=5, seed=0)
    assert list(line) == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9])
    again = loss_by_time(run, examples=200, rounds=4, bins=5, seed=0)
    assert line == again


@pytest.mark.slow
def test_known_positions_of_binary_latents_are_kept(command, bits, tmp_path):
    first, second = tmp_path / "first.npz", tmp_path / "second.npz"
    code, output = command("sample", "--workdir", bits / "second", "--num_samples", 16, "--out", first)
    assert code == 0, output
    flags = ["--known", first, "--known_positions", "0,1,2", "--seed", 5]
    code, output = command("sample", "--workdir", bits / "second", "--num_samples", 16, "--out", second, *flags)
    assert code == 0, output
    with np.load(first, allow_pickle=False) as a, np.load(second, allow_pickle=False) as b:
        np.testing.assert_array_equal(a["latents"][:, :3], b["latents"][:, :3])
        assert (a["latents"] != b["latents"]).any()
    flags = ["--known", first, "--known_positions", 6]
    code, output = command("sample", "--workdir", bits / "second", "--out", second, *flags)
    assert code == 2
    assert "it must name positions from 0 to 5" in output
    flags = ["--num_samples", 16, "--prior_steps", 2, "--steps", 3]
    code, output = command("evaluate", "--workdir", bits / "second", *flags)
    assert code == 0, output
    assert "heun, 3 steps (5 network evaluations)" in output
    about = json.loads((bits / "second" / "evaluation.json").read_text())["provenance"]
    assert about["prior"]["sample"]["steps"] == 2
    assert about["evaluations"] == 5


@pytest.mark.parametrize(
    ("arrays", "positions", "message"),
    [
        ({"image": np.zeros((3, 8, 8, 1))}, (0,), r"must hold an integer array `latents` \[N, ...\]"),
        ({"latents": np.zeros(5, int)}, (0,), r"must hold an integer array `latents` \[N, ...\]"),
        ({"latents": np.zeros((0, 6), int)}, (0,), r"must hold an integer array `latents` \[N, ...\]"),
        ({"latents": np.full((4, 6), 0.7)}, (0,), r"must hold an integer array `latents` \[N, ...\]"),
        (
            {"latents": np.zeros((4, 6), int), "label": np.zeros(3, int)},
            (0,),
            r"`label` is int64 \[3\]",
        ),
        ({"latents": np.zeros((4, 6), int), "mask": np.zeros((4, 5), bool)}, None, r"`mask` in .* is bool \[4, 5\]"),
        ({"latents": np.zeros((4, 6), int)}, (), r"it must name positions from 0 to 5"),
        ({"latents": np.zeros((4, 6), int)}, (6,), r"it must name positions from 0 to 5"),
    ],
)
def test_invalid_known_latents_are_refused(tmp_path, arrays, positions, message):
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(UsageError, match=message):
        read_known(tmp_path / "x.npz", "latents", positions)
    np.save(tmp_path / "x.npy", np.zeros((4, 6), int))
    with pytest.raises(UsageError, match=r"x.npy is not an .npz file"):
        read_known(tmp_path / "x.npy", "latents", positions)


@pytest.mark.slow
def test_latents_are_inferred_from_a_folder_of_images(command, tmp_path):
    train(shrink(digits_disco.get_config("binary"), **{"train.steps": 1, "sample.steps": 2}), tmp_path / "run")
    folder = tmp_path / "images"
    folder.mkdir()
    for i in range(3):
        Image.fromarray(np.full((8, 8), 80 * i, np.uint8)).save(folder / f"{i}.png")
    out = tmp_path / "variations.npz"
    flags = ["--images", folder, "--num_samples", 6, "--labels", "3", "--out", out]
    flags += ["--sampler", "ddim"]  # compiles one network instead of two
    code, output = command("sample", "--workdir", tmp_path / "run", *flags)
    assert code == 0, output
    with np.load(out, allow_pickle=False) as file:
        assert file["image"].shape == (6, 8, 8, 1)
        assert file["source"].tolist() == [0, 1, 2, 0, 1, 2]
        assert file["label"].tolist() == [3] * 6
        assert file["latents"].min() >= 0


@pytest.mark.slow
def test_both_stages_resume(bits):
    config = bits_prior(bits)
    config.train.steps = 4
    assert train(config, bits / "second").step == 4
    config.first_run = ""  # the workdir already contains what it needs from the first stage
    config.train.steps = 5
    assert train(config, bits / "second").step == 5


@pytest.mark.slow
def test_a_prior_without_its_first_stage_is_refused(toy, tmp_path):
    config = shrink(toy_disco.get_config("prior"))
    with pytest.raises(UsageError, match="requires the workdir of its first stage"):
        train(config, tmp_path / "a")
    for folder, message in (
        (tmp_path / "nothing", "no folder"),
        (toy / "plain", "requires a first stage with latents"),
    ):
        config.first_run = str(folder)
        with pytest.raises(UsageError, match=message):
            train(config, tmp_path / "a")
    other = digits_disco.get_config("prior")
    other.first_run = str(toy / "disco")
    with pytest.raises(UsageError, match=r"config.data.name is 'digits'"):
        train(other, tmp_path / "a")
    assert not (tmp_path / "a" / "config.json").exists()
