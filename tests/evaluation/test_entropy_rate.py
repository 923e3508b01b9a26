"""The entropy rate against its closed form for one Gaussian, and for independent bits, and its quantiles."""

import itertools
import json

import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.configs import mixture
from bitdiff.data.dataset import Arrays
from bitdiff.evaluation.entropy_rate import RANGE, EntropyRate, entropy_rate, equal_quantiles, rate_of
from bitdiff.evaluation.random_times import at_random_times
from bitdiff.inference.trained import Trained, load
from bitdiff.runtime.errors import UsageError
from bitdiff.training.schedule_file import NAME
from bitdiff.training.trainer import train


def test_the_integral_of_the_rate_is_the_information_of_a_gaussian():
    """For x0 ~ N(0, v), mse = v / (1 + s v), and the information up to s is ln(1 + s v) / 2."""
    random, variance = np.random.default_rng(0), 0.7
    log_snr = random.uniform(*RANGE, 400_000)
    snr = np.exp(log_snr)
    error = variance / (1 + snr * variance) * random.chisquare(1, len(snr))
    rate = rate_of(error, snr / (1 + snr), 90)
    width = rate.log_snr[1] - rate.log_snr[0]
    total = np.sum(rate.rate) * width
    expected = 0.5 * (np.log1p(np.exp(RANGE[1]) * variance) - np.log1p(np.exp(RANGE[0]) * variance))
    # Each bin is a mean of 4,400 chi-squares, so the sum's relative standard error is about sqrt(2 / 400,000).
    assert total == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("self_cond_rate", "size"), [(0.3, 250), (0.5, 256), (0.0, 256), (0.9, 250)])
def test_batches_can_be_self_conditioned_at_any_rate(self_cond_rate, size):
    sizes = []

    def measure(params, batch, keys):
        sizes.append(len(keys))
        return (jnp.zeros(len(keys)),)

    config = mixture.get_config()
    config.diffusion.self_cond_rate = self_cond_rate
    run = Trained(None, config, None, {}, 0, None)
    found = at_random_times(run, measure, Arrays({"x": np.zeros(7)}), examples=7, rounds=40, seed=0)
    assert sizes == [size]
    assert found.shape == (1, 280)


def test_the_rate_of_scaled_bits_is_that_of_bits_of_one_at_other_noise_levels():
    random, scale = np.random.default_rng(0), 0.1
    log_snr = random.uniform(*RANGE, 1_000)
    error = random.chisquare(1, 1_000)
    plain = rate_of(error, 1 / (1 + np.exp(-log_snr)), 20)
    shift = 2 * np.log(scale)  # the same noise relative to the bits
    scaled = rate_of(scale**2 * error, 1 / (1 + np.exp(shift - log_snr)), 20, scale)
    np.testing.assert_allclose(scaled.log_snr, plain.log_snr - shift)
    np.testing.assert_allclose(scaled.rate, plain.rate)
    levels = [equal_quantiles(rate, power=0.5, count=9, cutoff=0.2 * b) for rate, b in ((plain, 1.0), (scaled, scale))]
    np.testing.assert_allclose(levels[1], levels[0] - shift)


def test_equal_quantiles_have_equal_integrals_between_them():
    log_snr = np.linspace(*RANGE, 181)[:-1] + 0.05
    levels = equal_quantiles(EntropyRate(log_snr, np.exp(-0.5 * log_snr**2)), power=1.0, count=9, cutoff=0.0)
    assert (np.diff(levels) < 0).all()
    np.testing.assert_allclose(levels[[0, -1]], RANGE[::-1])
    density = np.maximum(np.exp(-0.5 * log_snr**2), 0.01)
    inside = [density[(log_snr <= high) & (log_snr > low)].sum() for high, low in itertools.pairwise(levels)]
    np.testing.assert_allclose(inside, np.mean(inside), rtol=0.12)  # of about ten bins each
    flat = equal_quantiles(EntropyRate(log_snr, np.ones(180)), power=0.5, count=5, cutoff=0.0)
    np.testing.assert_allclose(flat, [9.0, 4.5, 0.0, -4.5, -9.0], atol=1e-9)
    with pytest.raises(UsageError, match="power is 0"):
        equal_quantiles(EntropyRate(log_snr, np.ones(180)), power=0.0, count=5, cutoff=0.0)
    # With a cutoff, levels of a sigma far below it are rare, and those far above it as before.
    levels = equal_quantiles(EntropyRate(log_snr, np.ones(180)), power=0.5, count=1_001, cutoff=0.2)
    sigma = np.exp(-levels / 2.0)
    assert np.mean(sigma < 0.05) < 0.03  # a sixth of the range
    np.testing.assert_allclose(np.diff(levels[sigma > 1.0]), np.diff(levels)[-1], rtol=0.02)


@pytest.mark.slow
def test_a_run_is_measured_sampled_along_its_schedule_and_trained_from(command, tmp_path):
    config = mixture.get_config()
    config.network.update(dim=16, layers=1)
    config.optimizer.update(warmup_steps=1, name="adam")
    config.train.update(steps=4, batch_size=8, sample_every_steps=0)
    train(config, tmp_path / "run")
    code, output = command("sample", "--workdir", tmp_path / "run", "--schedule", "measured", "--num_samples", 4)
    assert code == 2
    assert "there are no measured levels: run bitdiff.schedule on a trained run" in output
    code, output = command("schedule", "--workdir", tmp_path / "run", "--rounds", 2, "--levels", 9)
    assert code == 0, output
    levels = json.loads((tmp_path / "run" / NAME).read_text())["levels"]
    assert len(levels) == 9
    run = load(tmp_path / "run")
    measured, cosine = (
        run.sample(8, schedule=name, steps=5, sampler="ddpm")["tokens"] for name in ("measured", "cosine")
    )
    assert (measured != cosine).any()
    axes = ("--schedule", "cosine,measured", "--churn_fraction", "0,0.2")
    code, output = command("sweep", "--workdir", tmp_path / "run", "--steps", 3, "--num_samples", 50, *axes)
    assert code == 0, output
    cells = json.loads((tmp_path / "run" / "sweep.json").read_text())["cells"]
    assert len({scores["tv"] for scores in cells.values()}) == 4
    # An untrained network estimates nearly zero: the rate of a bit is then s / 2.
    rate = entropy_rate(run, examples=500, rounds=20, bins=18, seed=0)
    np.testing.assert_allclose(rate.rate[4:12], np.exp(rate.log_snr[4:12]) / 2 * np.sinh(0.5) / 0.5, rtol=0.25)

    config.diffusion.update(schedule="measured", schedule_run=str(tmp_path / "run"))
    train(config, tmp_path / "other")
    other = load(tmp_path / "other").config
    assert other.diffusion.schedule_options.levels == other.sample.schedule_options.levels == levels

    # A run that is resumed keeps its levels if they are measured again, and finds them in another folder.
    report = json.loads((tmp_path / "run" / NAME).read_text())
    again = report | {"levels": [level - 0.5 for level in levels]}
    (tmp_path / "run" / NAME).write_text(json.dumps(again))
    config.train.steps = 5
    train(config, tmp_path / "other")
    assert load(tmp_path / "other").step == 5
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / NAME).write_text(json.dumps(report))
    config.diffusion.schedule_run = str(tmp_path / "moved")
    config.train.steps = 6
    train(config, tmp_path / "other")
    assert load(tmp_path / "other").config.diffusion.schedule_options.levels == levels
    config.diffusion.schedule_run = str(tmp_path / "run")
    with pytest.raises(UsageError, match=r"config.diffusion.schedule_options.levels"):
        train(config, tmp_path / "other")

    (tmp_path / "run" / NAME).write_text("{}")
    with pytest.raises(UsageError, match=r"schedule.json cannot be read"):
        train(config, tmp_path / "third")
    config.diffusion.schedule = "cosine"
    with pytest.raises(UsageError, match="it must be 'measured'"):
        train(config, tmp_path / "third")
