"""Completing images and token sequences, as a user does."""

import numpy as np
import pytest

from bitdiff import fit, load_config
from bitdiff.data import from_arrays


@pytest.mark.slow
def test_images_are_completed(command, finished_run, tmp_path):
    known = np.arange(2 * 64).reshape(2, 8, 8, 1) % 17
    mask = np.zeros(known.shape, bool)
    mask[:, 4:] = True
    np.savez(tmp_path / "known.npz", image=known, mask=mask, label=np.array([3, 8]))
    out = tmp_path / "completed.npz"
    arguments = ["--workdir", finished_run, "--known", tmp_path / "known.npz", "--out", out]
    code, output = command("sample", *arguments)
    assert code == 0, output
    with np.load(out, allow_pickle=False) as samples:
        np.testing.assert_array_equal(samples["image"][:, :4], known[:, :4])  # one sample per row
        assert samples["label"].tolist() == [3, 8]
    assert (tmp_path / "completed.png").exists()


@pytest.mark.slow
def test_token_sequences_are_completed(command, tmp_path):
    config = load_config("npz:tokens")
    config.network.update(dim=8, layers=1, head_dim=8)
    config.optimizer.warmup_steps = 1
    config.train.update(steps=2, batch_size=4, sample_every_steps=0)
    config.sample.update(steps=2, batch_size=4)
    tokens = np.arange(60).reshape(20, 3) % 5
    fit(config, from_arrays({"tokens": tokens}), workdir=tmp_path / "run")
    np.savez(tmp_path / "known.npz", tokens=np.array([[4, -1, 0]]))
    out = tmp_path / "completed.npz"
    arguments = ["--workdir", tmp_path / "run", "--num_samples", 5, "--known", tmp_path / "known.npz", "--out", out]
    code, output = command("sample", *arguments)
    assert code == 0, output
    with np.load(out, allow_pickle=False) as samples:
        assert (samples["tokens"][:, [0, 2]] == [4, 0]).all()


@pytest.mark.parametrize(
    ("arrays", "arguments", "message"),
    [
        ({"tokens": np.zeros((1, 3), int)}, [], "must hold an integer array `image`"),
        ({"image": np.zeros((1, 4, 4, 1), int)}, [], "they must have shape [8, 8, 1]"),
        ({"image": np.full((1, 8, 8, 1), 17)}, [], "range from 0 to 16, with -1 where they are open"),
        ({"image": np.zeros((1, 8, 8, 1), int)}, ["--images", "."], "--images and --known cannot be combined"),
    ],
)
@pytest.mark.slow
def test_files_that_do_not_fit_are_refused(command, finished_run, tmp_path, arrays, arguments, message):
    np.savez(tmp_path / "known.npz", **arrays)
    out = tmp_path / "x.npz"
    code, output = command(
        "sample", "--workdir", finished_run, "--known", tmp_path / "known.npz", "--out", out, *arguments
    )
    assert code == 2
    assert message in output
    assert "Traceback" not in output
