"""The sampler tested without a network: with the Bayes-optimal denoiser it reaches the floor."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.data import token_pairs
from bitdiff.diffusion import bits, sampling, schedules, step_rules
from bitdiff.diffusion.noise_levels import Grid, make_plan
from bitdiff.diffusion.oracle import bayes_denoiser
from bitdiff.metrics import distributions

COUNT = 20_000
PROBABILITIES = token_pairs.probabilities().ravel()
STATES = np.stack(np.divmod(np.arange(256), 16), axis=-1)
FLOOR = distributions.tv_floor(PROBABILITIES, COUNT)


def total_variation(encoding, sampler, steps, lag=0.0):
    codec = bits.make_codec(encoding, 16)
    points = codec.encode(STATES[..., None])
    denoise = bayes_denoiser(points, PROBABILITIES)

    @jax.jit
    def draw(key):
        shape = (COUNT // 4, *points.shape[1:])
        plan = make_plan(schedules.cosine(), Grid(steps, lag=lag), length=points.shape[1])
        analog = sampling.follow(denoise, key, shape, plan, sampler=sampler).x0
        return codec.decode(analog)[..., 0], jnp.mean(codec.invalid(analog))

    samples, invalid = zip(*[draw(jax.random.key(i)) for i in range(4)], strict=True)
    return distributions.tv(np.concatenate(samples), STATES, PROBABILITIES), float(np.mean(invalid))


@pytest.mark.parametrize("encoding", bits.ENCODINGS)
@pytest.mark.parametrize("sampler", step_rules.RULES)
@pytest.mark.slow
def test_total_variation_falls_to_its_floor(encoding, sampler):
    coarse, _ = total_variation(encoding, sampler, 3)
    fine, invalid = total_variation(encoding, sampler, 100)
    # Three steps are clearly too few (1.9 to 5.9 times the floor measured). At 100 steps the distance is at the floor
    # (0.95 to 1.10 times measured): its own spread is about 5%, which leaves a margin for first-order samplers.
    assert coarse > 1.5 * FLOOR
    assert fine < 1.2 * FLOOR
    assert invalid < 1e-3


@pytest.mark.parametrize("sampler", [name for name in step_rules.RULES if name != "heun"])  # supports no lag
@pytest.mark.slow
def test_lagging_positions_reach_the_floor_too(sampler):
    assert total_variation("uint", sampler, 200, lag=1.0)[0] < 1.2 * FLOOR


def test_the_posterior_does_not_depend_on_the_scale_of_the_bits():
    points, x_t = np.array([[1.0], [-1.0]]), np.array([[0.3], [-0.7], [1.1]])
    for log_snr in (-2.0, 0.0, 3.0):
        means = []
        for scale in (1.0, 0.03):
            snr = np.exp(log_snr) / scale**2  # the same ratio of a bit's power to the noise's
            gamma = np.full(3, snr / (1.0 + snr))
            noisy = scale * np.sqrt(gamma)[:, None] * x_t
            given = jnp.asarray(noisy, jnp.float32), None, jnp.asarray(gamma, jnp.float32)
            means.append(np.asarray(bayes_denoiser(scale * points, [0.4, 0.6])(*given)) / scale)
        np.testing.assert_allclose(means[1], means[0], atol=1e-3)  # 1 - gamma is rounded


def test_the_denoiser_is_the_posterior_mean():
    points = np.array([[1.0, 1.0], [1.0, -1.0], [-1.0, -1.0]])
    probabilities = np.array([0.5, 0.2, 0.3])
    x_t = np.array([[0.4, -0.2], [-1.0, 2.0]])
    for gamma, given in ((0.3, np.full((2,), 0.3)), (np.array([0.6, 0.1]), np.array([[0.6, 0.1]] * 2))):
        likelihood = np.exp(-((x_t[:, None] - np.sqrt(gamma) * points) ** 2 / (2 * (1 - gamma))).sum(-1))
        weights = likelihood * probabilities / (likelihood * probabilities).sum(1, keepdims=True)
        result = bayes_denoiser(points, probabilities)(
            jnp.asarray(x_t, jnp.float32), None, jnp.asarray(given, jnp.float32)
        )
        np.testing.assert_allclose(result, weights @ points, atol=1e-6)
