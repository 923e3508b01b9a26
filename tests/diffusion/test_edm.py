"""EDM in variance-preserving form against EDM as written in its paper, in terms of sigma and in double precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from bitdiff.diffusion import corruption, edm, noise_levels, objectives, sampling, schedules, training_loss
from bitdiff.runtime.errors import UsageError

KEY = jax.random.key(0)
KARRAS = schedules.karras()
MEANS = np.array([[-1.0, 0.5], [0.8, 0.2], [0.3, -0.9]])
SPREAD = 0.3


def bayes(y, sigma, xp=np):
    """E[x0 | y] for y = x0 + sigma eps with x0 from a mixture of three isotropic Gaussians: float [B, 2]."""
    total = SPREAD**2 + sigma**2
    offsets = y[:, None] - MEANS
    logits = -xp.sum(offsets**2, -1) / (2 * total)
    logits = logits - xp.max(logits, axis=1, keepdims=True)
    weights = xp.exp(logits) / xp.sum(xp.exp(logits), axis=1, keepdims=True)
    return xp.sum(weights[..., None] * (MEANS + SPREAD**2 / total * offsets), axis=1)


def denoise(x_t, x0_prev, gamma_t):
    sigma = edm.noise_to_signal(gamma_t[0])
    return bayes(x_t / jnp.sqrt(gamma_t[0]), sigma, jnp)


def levels(steps, low=0.002, high=80.0, rho=7.0):
    i = np.arange(steps)
    return (high ** (1 / rho) + i / (steps - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho


def edm_sampler(y, steps, second_order, denoise=bayes):
    """Algorithm 1 of the paper; returns the samples and the number of network evaluations."""
    sigmas = np.append(levels(steps), 0.0)
    evaluations = 0
    for i in range(steps):
        slope = (y - denoise(y, sigmas[i])) / sigmas[i]
        following = y + (sigmas[i + 1] - sigmas[i]) * slope
        evaluations += 1
        if second_order and sigmas[i + 1] > 0:
            slope_there = (following - denoise(following, sigmas[i + 1])) / sigmas[i + 1]
            following = y + (sigmas[i + 1] - sigmas[i]) * (slope + slope_there) / 2
            evaluations += 1
        y = following
    return y, evaluations


def edm_plan(steps, churn=(), restarts=()):
    return noise_levels.make_plan(
        KARRAS,
        noise_levels.Grid(steps, endpoint=True),
        noise_levels.AddedNoise(noise_levels.Churn(*churn), [noise_levels.Restart(*r) for r in restarts]),
    )


def draw(key, count, steps, sampler, x_init=None, **noise):
    estimation = sampling.Estimation(clip=None)
    plan = edm_plan(steps, **noise)
    return sampling.follow(denoise, key, (count, 2), plan, sampler=sampler, estimation=estimation, x_init=x_init).x0


@pytest.mark.parametrize("sampler", ["ddim", "heun"])
def test_ddim_equals_eulers_method_and_heun_equals_edms_sampler(sampler):
    x = jax.random.normal(KEY, (64, 2))
    start = np.asarray(x, np.float64) * np.sqrt(1 + 80.0**2)
    expected, evaluations = edm_sampler(start, 18, sampler == "heun")
    drawn = draw(KEY, len(x), 18, sampler, x_init=x)
    np.testing.assert_allclose(drawn, expected, atol=2e-3)  # float32, and the flow diverges between modes
    assert np.median(np.abs(drawn - expected)) < 2e-5
    plan = edm_plan(18)
    assert noise_levels.evaluations(plan, sampler == "heun") == evaluations == (35 if sampler == "heun" else 18)


def test_heun_is_second_order():
    x = jax.random.normal(KEY, (256, 2))

    exact = draw(KEY, len(x), 400, "heun", x_init=x)
    errors = {
        (sampler, steps): float(jnp.median(jnp.abs(draw(KEY, len(x), steps, sampler, x_init=x) - exact)))
        for sampler in ("ddim", "heun")
        for steps in (20, 40)
    }
    assert errors["ddim", 20] / errors["ddim", 40] < 2.6  # halved
    assert errors["heun", 20] / errors["heun", 40] > 3.0  # quartered
    assert errors["heun", 40] < errors["ddim", 40] / 4


def test_the_noise_levels_equal_the_papers():
    plan = edm_plan(18)
    np.testing.assert_allclose(noise_levels.sigma_of(plan.now), levels(18), rtol=1e-9)
    np.testing.assert_allclose(noise_levels.sigma_of(plan.after), np.append(levels(18)[1:], 0.0), rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(plan.before, plan.now)
    assert not plan.adds_noise


def test_training_noise_levels_are_lognormal():
    t = np.linspace(0, 1, 20_001)[1:-1]
    logs = np.log(noise_levels.sigma_of(schedules.lognormal()(t)))
    assert scipy.stats.kstest(logs, scipy.stats.norm(-1.2, 1.2).cdf).statistic < 1e-3
    traced = schedules.lognormal()(jnp.asarray(t, jnp.float32))
    np.testing.assert_allclose(traced, schedules.lognormal()(t), rtol=2e-3)  # float32 in the tails
    assert np.isfinite(schedules.lognormal()(jnp.array([0.0, 1.0]))).all()


def test_preconditioning_with_unit_sigma_data_predicts_minus_v():
    gamma_t = jnp.array([0.01, 0.3, 0.9, 0.999])
    x_t, output = jax.random.normal(KEY, (2, 4, 5))
    x0 = edm.precondition(lambda y, c: output, x_t, gamma_t, 1.0)
    expected = corruption.estimate_x0(-output, x_t, gamma_t, prediction="v", clip=None)
    np.testing.assert_allclose(x0, expected, atol=1e-5)


@pytest.mark.parametrize("sigma", [0.02, 0.5, 10.0])
def test_preconditioning_equals_the_papers(sigma):
    sd = 0.5
    y = np.array([[0.4, -1.0, 2.0]])
    gamma_t = jnp.array([1 / (1 + sigma**2)])
    seen = {}

    def network(scaled, noise):
        seen.update(y=scaled, c_noise=noise)
        return jnp.ones_like(scaled)

    x0 = edm.precondition(network, jnp.asarray(y * np.sqrt(gamma_t[0])), gamma_t, sd)
    c_skip, c_out = sd**2 / (sigma**2 + sd**2), sigma * sd / np.sqrt(sigma**2 + sd**2)
    np.testing.assert_allclose(x0, c_skip * y + c_out, rtol=1e-4)
    np.testing.assert_allclose(seen["y"], y / np.sqrt(sigma**2 + sd**2), rtol=1e-4)
    np.testing.assert_allclose(seen["c_noise"], [np.log(sigma) / 4], rtol=1e-3)
    np.testing.assert_allclose(edm.loss_weight(gamma_t, sd), [1 / c_out**2], rtol=1e-3)


@pytest.mark.slow
def test_an_untrained_network_has_a_weighted_loss_of_one():
    """EDM's weight makes the loss of F = 0 equal 1 at every level, for data with standard deviation sigma_data."""
    sd = 0.5
    x0 = sd * jax.random.normal(KEY, (4_000, 8))

    def network(x_t, x0_prev, gamma_t, condition):
        return edm.precondition(lambda y, c: 0.0 * y, x_t, gamma_t, sd)

    loss, t = training_loss.denoising_loss(
        network,
        x0,
        jax.random.split(KEY, len(x0)),
        gamma=schedules.lognormal(),
        objective=objectives.l2("x0"),
        self_cond_rate=0.0,
        clip=None,
        weight=lambda gamma_t: edm.loss_weight(gamma_t, sd),
    )
    for part in np.array_split(np.argsort(t), 4):  # 8,000 squared unit normals each: standard error 0.016
        np.testing.assert_allclose(np.mean(np.asarray(loss)[part]), 1.0, atol=0.06)


def test_churn_raises_the_noise_by_the_papers_factor_within_its_range():
    plan = edm_plan(32, churn=(8.0, 0.05, 50.0))
    before, now = noise_levels.sigma_of(plan.before), noise_levels.sigma_of(plan.now)
    inside = (before >= 0.05) & (before <= 50.0)
    np.testing.assert_allclose(now[inside], before[inside] * 1.25, rtol=1e-6)
    np.testing.assert_allclose(plan.now[~inside], plan.before[~inside], rtol=1e-12)
    most = edm_plan(4, churn=(100.0, 0.05, 50.0))
    assert np.max(noise_levels.sigma_of(most.now) / noise_levels.sigma_of(most.before)) == pytest.approx(2**0.5)


def test_a_restart_goes_up_and_down_again_from_the_nearest_grid_level():
    plan = edm_plan(18, restarts=[(4, 2, 0.1, 1.0)])
    assert len(plan.now) == 18 + 2 * 3
    ups = np.flatnonzero(plan.before != plan.now)
    assert len(ups) == 2
    low = levels(18)[np.argmin(np.abs(np.log(levels(18)) - np.log(0.1)))]
    for up in ups:
        np.testing.assert_allclose(noise_levels.sigma_of(plan.before[up]), low, rtol=1e-6)
        np.testing.assert_allclose(noise_levels.sigma_of(plan.now[up : up + 3]), levels(4, low, 1.0)[:3], rtol=1e-6)
        np.testing.assert_allclose(noise_levels.sigma_of(plan.after[up + 2]), low, rtol=1e-6)
    # Every step starts where the previous one ended.
    np.testing.assert_allclose(plan.before[1:], plan.after[:-1], rtol=1e-9)
    assert noise_levels.evaluations(plan, True) == 2 * 24 - 1


@pytest.mark.parametrize("options", [{"churn": (20.0, 0.05, 50.0)}, {"restarts": [(6, 3, 0.1, 2.0)]}])
def test_added_noise_preserves_the_distribution(options):
    """With the exact denoiser, the samples have the mixture's moments and the fractions of its modes."""
    drawn = np.asarray(jax.jit(lambda key: draw(key, 8_000, 40, "heun", **options))(KEY))
    plain = draw(KEY, 8_000, 40, "heun")
    assert np.abs(drawn - plain).mean() > 0.05  # the samples do differ
    nearest = np.argmin(((drawn[:, None] - MEANS) ** 2).sum(-1), axis=1)
    np.testing.assert_allclose(np.bincount(nearest) / 8_000, 1 / 3, atol=0.03)  # 5 standard errors, plus overlap
    # Four standard errors of a mean and of a variance of 8,000.
    variance = MEANS.var(0) + SPREAD**2
    np.testing.assert_allclose(drawn.mean(0), MEANS.mean(0), atol=4 * np.sqrt(variance.max() / 8_000))
    np.testing.assert_allclose(drawn.var(0), variance, rtol=4 * np.sqrt(2 / 8_000) + 0.01)


def test_a_churn_fraction_is_the_same_for_any_number_of_steps():
    for steps in (5, 50):
        plan = edm_plan(steps, churn=(0.0, 0.0, 1e9, 0.15))
        ratio = noise_levels.sigma_of(plan.now) / noise_levels.sigma_of(plan.before)
        np.testing.assert_allclose(ratio, 1.15, rtol=1e-6)


@pytest.mark.parametrize(
    "noise", [{"churn": noise_levels.Churn(10.0)}, {"restarts": [noise_levels.Restart(200, 1, 0.3, 30.0)]}]
)
def test_positions_that_lag_keep_their_distribution_with_added_noise(noise):
    """The exact denoiser of independent Gaussian positions, each at its own noise level."""
    variance = jnp.array([0.1, 0.5, 1.0, 2.0])

    def gaussian(x_t, x0_prev, gamma_t):
        return (jnp.sqrt(gamma_t) * variance / (gamma_t * variance + 1.0 - gamma_t))[..., None] * x_t

    gamma = schedules.cosine()
    plan = noise_levels.make_plan(gamma, noise_levels.Grid(500, lag=4.0), noise_levels.AddedNoise(**noise), length=4)
    moved = plan.before != plan.now
    assert moved.any(axis=0).all()
    assert not moved[0, -1]  # a position that still waits is left alone
    estimation = sampling.Estimation(clip=None, self_cond=False)
    drawn = sampling.follow(gaussian, KEY, (8_000, 4, 1), plan, sampler="ddim", estimation=estimation).x0[..., 0]
    # Four standard errors, and 4 % for 100 steps per position.
    np.testing.assert_allclose(drawn.var(0), variance, rtol=4 * np.sqrt(2 / 8_000) + 0.04)
    np.testing.assert_allclose(np.corrcoef(drawn.T), np.eye(4), atol=4 / np.sqrt(8_000))


def test_bad_plans_are_refused():
    with pytest.raises(UsageError, match=r"'dpm\+\+' supports neither churn nor restarts"):
        draw(KEY, 1, 4, "dpm++", churn=(1.0,))
    with pytest.raises(UsageError, match="churn is"):
        edm_plan(4, churn=(float("nan"),))
    with pytest.raises(UsageError, match="2 or more"):
        noise_levels.time_grid(1, endpoint=True)
    with pytest.raises(UsageError, match=r"churn is \(-1"):
        edm_plan(4, churn=(-1.0,))
    with pytest.raises(UsageError, match="0 < low < high"):
        edm_plan(4, restarts=[(3, 1, 2.0, 1.0)])
    noise = noise_levels.AddedNoise(restarts=[noise_levels.Restart(3, 1, 0.1, 0.5)])
    with pytest.raises(UsageError, match="goes up to sigma"):
        noise_levels.make_plan(schedules.karras(1.0, 80.0), noise_levels.Grid(3), noise)
    grid = noise_levels.Grid(4, lag=2.0)
    with pytest.raises(UsageError, match="and at least one 0"):
        edm_plan(4, churn=(1.0, 0.0, 50.0, 0.1))
    with pytest.raises(UsageError, match="'heun' does not support a lag"):
        sampling.follow(denoise, KEY, (1, 4, 2), noise_levels.make_plan(KARRAS, grid, length=4), sampler="heun")
    with pytest.raises(UsageError, match="0 < sigma_min < sigma_max"):
        schedules.karras(2.0, 1.0)
