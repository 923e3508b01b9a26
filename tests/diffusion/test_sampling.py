import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.diffusion import corruption, guidance, noise_levels, sampling, schedules, step_rules
from bitdiff.runtime.errors import UsageError

GAMMA = schedules.cosine()
KEY = jax.random.key(0)


def test_the_time_grid_follows_steps_and_td():
    t_now, t_next = noise_levels.time_grid(4)
    np.testing.assert_allclose(t_now, [1, 0.75, 0.5, 0.25])
    np.testing.assert_allclose(t_next, [0.75, 0.5, 0.25, 0])  # td = 0: each step starts where the last ended
    _, t_next = noise_levels.time_grid(4, td=1.5)
    np.testing.assert_allclose(t_next, [0.375, 0.125, 0, 0])


@pytest.mark.parametrize("sampler", step_rules.RULES)
@pytest.mark.parametrize("prediction", corruption.PREDICTIONS)
def test_an_oracle_denoiser_recovers_x0(sampler, prediction):
    x0 = jnp.sign(jax.random.normal(KEY, (3, 4, 5)))

    def oracle(x_t, x0_prev, gamma_t):
        alpha, sigma = (jnp.sqrt(g).reshape(-1, 1, 1) for g in (gamma_t, 1 - gamma_t))
        return corruption.target(x0, (x_t - alpha * x0) / sigma, gamma_t, prediction)

    result = sampling.sample(
        oracle, KEY, x0.shape, gamma=GAMMA, steps=10, td=0.5, sampler=sampler, prediction=prediction
    )
    np.testing.assert_allclose(result, x0, atol=1e-4)


def reference_ddim(denoise, x, steps, td):
    """Section 3.3 and the official loop, written out in double precision."""
    x = np.asarray(x, np.float64)
    x0_prev = np.zeros_like(x)
    for i in range(steps):
        now = np.cos((1 - i / steps + 0.0002) / 1.00025 * np.pi / 2) ** 2
        then = np.cos((max(1 - (i + 1 + td) / steps, 0) + 0.0002) / 1.00025 * np.pi / 2) ** 2
        x0 = np.clip(denoise(x, x0_prev, now), -1, 1)
        eps = (x - np.sqrt(now) * x0) / np.sqrt(1 - now)
        x = np.sqrt(then) * x0 + np.sqrt(1 - then) * eps
        x0_prev = x0
    return x0


@pytest.mark.parametrize("td", [0.0, 2.0])
def test_ddim_equals_a_plain_loop(td):
    def denoise(x, x0_prev, gamma):
        return 1.5 * x * gamma + 0.4 * x0_prev - 0.1

    def network(x, x0_prev, gamma_t):
        return denoise(x, x0_prev, gamma_t[:, None])

    x = jax.random.normal(KEY, (4, 3))
    result = sampling.sample(network, KEY, x.shape, gamma=GAMMA, steps=7, td=td, x_init=x)
    np.testing.assert_allclose(result, reference_ddim(denoise, x, 7, td), atol=1e-5)


def test_the_ddpm_mean_equals_the_papers_form():
    rng = np.random.RandomState(0)
    x_t, x0 = rng.normal(size=(2, 5)), rng.normal(size=(2, 5))
    now, following = 0.3, 0.4
    a = now / following
    eps = (x_t - np.sqrt(now) * x0) / np.sqrt(1 - now)
    mean = (x_t - (1 - a) / np.sqrt(1 - now) * eps) / np.sqrt(a)
    scalars = {"alpha_now": now**0.5, "alpha_next": following**0.5}
    scalars |= {"sigma_now": (1 - now) ** 0.5, "sigma_next": (1 - following) ** 0.5}
    blank = dict.fromkeys(step_rules.StepInput._fields, 0.0)
    step = step_rules.StepInput(**blank | scalars | {"x_t": x_t, "x0": x0})
    np.testing.assert_allclose(step_rules.ddpm(step), mean, atol=1e-6)
    one = step._replace(noise=np.ones((2, 5)))
    np.testing.assert_allclose(step_rules.ddpm(one) - mean, np.sqrt(1 - a), atol=1e-6)
    small = np.sqrt((1 - following) / (1 - now) * (1 - a))
    np.testing.assert_allclose(step_rules.ddpm_small(one) - mean, small, atol=1e-6)


def gaussian_denoiser(variance):
    """E[x0 | x_t] for normal data, for which every sampler's limit is known."""

    def denoise(x_t, x0_prev, gamma_t):
        g = gamma_t[:, None]
        return jnp.sqrt(g) * variance / (g * variance + 1 - g) * x_t

    return denoise


@pytest.mark.parametrize(("rule", "order"), [(step_rules.ddim, 1), (step_rules.dpm_plus_plus, 2)])
def test_deterministic_rules_converge_at_their_order(rule, order):
    variance = 0.25

    def error(steps):
        # For normal data the flow scales x by the ratio of its standard deviations at the two ends.
        with jax.enable_x64(True):
            gamma = GAMMA(np.linspace(0.9, 0.1, steps + 1))
            alpha, sigma = np.sqrt(gamma), np.sqrt(1 - gamma)
            log_snr = np.log(alpha / sigma)
            x, x0_last = jnp.ones(()), jnp.zeros(())
            for i in range(steps):
                x0 = alpha[i] * variance / (gamma[i] * variance + 1 - gamma[i]) * x
                x = rule(
                    step_rules.StepInput(
                        *(x, x0, x0_last, jnp.zeros(()), i == 0, alpha[i], sigma[i], log_snr[i]),
                        *(alpha[i + 1], sigma[i + 1], log_snr[i + 1], log_snr[i - 1]),
                    )
                )
                x0_last = x0
            spread = np.sqrt(gamma * variance + 1 - gamma)
            return abs(float(x) - spread[-1] / spread[0])

    # Halving the step divides the error by 2^order.
    assert error(40) / error(80) == pytest.approx(2**order, rel=0.1)


@pytest.mark.parametrize("sampler", ["ddpm", "ddpm_small"])
def test_ancestral_samplers_reproduce_the_variance_of_the_data(sampler):
    variance = 0.25
    x0 = sampling.sample(
        gaussian_denoiser(variance), KEY, (20_000, 1), gamma=GAMMA, steps=200, sampler=sampler, clip=None
    )
    # Standard error of the variance: 1%; discretization error at 200 steps: below 2%.
    assert float(x0.var()) == pytest.approx(variance, rel=0.05)
    assert abs(float(x0.mean())) < 0.02


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_a_sample_depends_only_on_its_own_key(sampler):
    def draw(key, count):
        denoise = gaussian_denoiser(0.5)
        return sampling.sample(denoise, key, (count, 3), gamma=GAMMA, steps=5, sampler=sampler, clip=None)

    keys = sampling.example_keys(KEY, 8)
    whole = draw(KEY, 8)
    np.testing.assert_allclose(draw(keys[2:5], 3), whole[2:5], atol=1e-6)
    np.testing.assert_allclose(draw(jax.random.key_data(KEY), 8), whole)  # an old-style key works too
    assert len(np.unique(np.asarray(whole))) == whole.size


def test_estimates_are_fed_back():
    def run(**options):
        seen = []

        def denoise(x_t, x0_prev, gamma_t):
            jax.debug.callback(lambda v: seen.append(float(v)), x0_prev[0, 0], ordered=True)
            return jnp.full_like(x_t, 0.8)

        sampling.sample(denoise, KEY, (1, 1), gamma=GAMMA, steps=3, **options).block_until_ready()
        jax.effects_barrier()
        return seen

    assert run() == pytest.approx([0, 0.8, 0.8])
    assert run(self_cond=False) == [0, 0, 0]
    assert run(momentum=0.5) == pytest.approx([0, 0.4, 0.6])
    assert run(clip=0.3) == pytest.approx([0, 0.3, 0.3])


def test_guidance_extrapolates_from_the_unconditional_estimate():
    cond = lambda x, *_: x + 1  # noqa: E731
    uncond = lambda x, *_: x  # noqa: E731
    x = jnp.zeros((1, 1))
    assert guidance.guide(cond, uncond, 0.0)(x, x, x) == 1
    assert guidance.guide(cond, uncond, 2.0)(x, x, x) == 3


def test_self_guidance_extrapolates_from_the_estimate_without_feedback():
    estimates = []

    def denoise(x_t, x0_prev, gamma_t):
        estimates.append(x0_prev)
        return 0.5 * x_t + x0_prev

    x = jnp.full((1, 1), 0.8)
    guided = guidance.self_guide(denoise, 3.0, prediction="x0", clip=0.3)
    # u = 0.4, its clipped estimate 0.3, s = 0.7; 3 s - 2 u
    assert float(guided(x, x, jnp.ones(1))[0, 0]) == pytest.approx(3 * 0.7 - 2 * 0.4)
    assert [float(a[0, 0]) for a in estimates] == pytest.approx([0.0, 0.3])


def test_a_jitted_call_gives_the_same_samples():
    def draw(key):
        return sampling.sample(gaussian_denoiser(0.5), key, (4, 3), gamma=GAMMA, steps=5, sampler="ddpm")

    np.testing.assert_allclose(jax.jit(draw)(KEY), draw(KEY), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "euler"}, "unknown sampler 'euler'; valid names are: ddim, ddpm, ddpm_small, dpm"),
        ({"prediction": "x"}, "unknown prediction 'x'"),
        ({"steps": 0}, "steps is 0"),
        ({"steps": 2.5}, "steps is 2.5"),
        ({"td": -1.0}, "td is -1.0"),
        ({"momentum": 1.0}, "momentum is 1.0"),
        ({"x_init": jnp.zeros((2, 2))}, r"x_init has shape \(2, 2\)"),
    ],
)
def test_bad_input_is_reported(options, message):
    with pytest.raises(UsageError, match=message):
        sampling.sample(gaussian_denoiser(1.0), KEY, (2, 3), gamma=GAMMA, **{"steps": 2} | options)


@pytest.mark.parametrize(
    ("lag", "message"), [(-1.0, "lag is -1.0"), (40.0, "lag is 40 with 2 steps; use 41 steps or more")]
)
def test_a_lag_out_of_range_is_refused(lag, message):
    with pytest.raises(UsageError, match=message):
        noise_levels.make_plan(GAMMA, noise_levels.Grid(2, lag=lag), length=3)
