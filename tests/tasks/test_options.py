"""Sampling options as one value, and the schedules that suit each sampler."""

import jax
import jax.numpy as jnp
import pytest

from bitdiff.configuration import base_config
from bitdiff.diffusion.sampling import Estimation, follow
from bitdiff.diffusion.step_rules import RULES
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import plan_of, sample_options

VARIANCE = 0.3
NO_CLIP = Estimation("x0", None, False, 0.0)


def denoise(x_t, x0_prev, gamma_t):
    """The exact denoiser of Gaussian data."""
    gamma = gamma_t[:, None]
    return jnp.sqrt(gamma) * VARIANCE * x_t / (gamma * VARIANCE + 1.0 - gamma)


@pytest.mark.parametrize(("steps", "error"), [(10, 0.15), (40, 0.06)])
@pytest.mark.parametrize("sampler", list(RULES))
def test_every_sampler_keeps_the_variance_on_its_own_schedule(sampler, steps, error):
    """The tolerances are the samplers' own errors; the standard error of the variance is 0.004."""
    options = sample_options(base_config().sample, sampler=sampler, steps=steps)
    plan = plan_of(options)
    sample = jax.jit(lambda key: follow(denoise, key, (10_000, 1), plan, sampler=sampler, estimation=NO_CLIP))
    assert float(jnp.var(sample(jax.random.key(0)).x0)) == pytest.approx(VARIANCE, abs=error)


def test_more_frames_than_steps_are_refused():
    with pytest.raises(UsageError, match="frames is 6; it must be from 0 to the number of steps, 5"):
        sample_options(base_config().sample, steps=5, frames=6)


def test_noise_scale_without_added_noise_is_refused():
    options = sample_options(base_config().sample, noise_scale=1.1)
    with pytest.raises(UsageError, match=r"noise_scale is 1.1, but it scales only the noise of churn and restarts"):
        plan_of(options)
    plan_of(options._replace(churn_fraction=0.1))


@pytest.mark.parametrize("schedule", ["cosine", "linear", "sigmoid"])
def test_heun_is_refused_on_schedules_with_large_first_steps(schedule):
    options = sample_options(base_config().sample, sampler="heun", schedule=schedule)
    with pytest.raises(UsageError, match=f"heun is unstable on the {schedule} schedule.*use the karras schedule"):
        plan_of(options)
    plan_of(options._replace(schedule="karras"))
    plan_of(options._replace(schedule="auto"))
