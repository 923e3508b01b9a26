"""Step rules: how a sampler moves x_t from one noise level to the next (Analog Bits, section 3.3).

All rules use the variance-preserving form. EDM's state, with sigma = sqrt(1 / gamma - 1), is x_t / sqrt(gamma): its
Euler step is the DDIM step here, and a step to sigma = 0 returns the estimate itself.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class StepInput(NamedTuple):
    """What a step rule may use: arrays [B, ...] and, per step, float32 scalars, or [L, 1] if positions lag.

    alpha = sqrt(gamma), sigma = sqrt(1 - gamma), log_snr = log(gamma / (1 - gamma)) / 2. `now` is the level of the
    network evaluation, `next` the level the step ends at, and `last` the level of the previous evaluation.
    """

    x_t: jax.Array
    x0: jax.Array
    x0_last: jax.Array
    noise: jax.Array
    is_first: jax.Array
    alpha_now: jax.Array
    sigma_now: jax.Array
    log_snr_now: jax.Array
    alpha_next: jax.Array
    sigma_next: jax.Array
    log_snr_next: jax.Array
    log_snr_last: jax.Array


class Rule(NamedTuple):
    """A step rule.

    step: moves the state to the next level.
    needs_noise: whether `step` uses StepInput.noise.
    uses_last: whether `step` uses the previous estimate, so that the state must not be re-noised between steps.
    correct: (step input, x0 estimate at the end of the step, state there) -> the corrected state; None for first order.
    """

    step: Callable[[StepInput], jax.Array]
    needs_noise: bool = False
    uses_last: bool = False
    correct: Callable[[StepInput, jax.Array, jax.Array], jax.Array] | None = None


def ddim(s: StepInput) -> jax.Array:
    """Deterministic step: sqrt(gamma_next) x0 + sqrt(1 - gamma_next) eps, with eps recomputed from x0."""
    eps = (s.x_t - s.alpha_now * s.x0) / s.sigma_now
    return s.alpha_next * s.x0 + s.sigma_next * eps


def ddpm(s: StepInput) -> jax.Array:
    """Ancestral step with the large variance 1 - a, a = clip(gamma_now / gamma_next, 0, 1)."""
    a = _ratio(s)
    return _posterior_mean(s, a) + jnp.sqrt(1.0 - a) * s.noise


def ddpm_small(s: StepInput) -> jax.Array:
    """Ancestral step with the small (posterior) variance (1 - gamma_next) / (1 - gamma_now) (1 - a)."""
    a = _ratio(s)
    return _posterior_mean(s, a) + s.sigma_next / s.sigma_now * jnp.sqrt(1.0 - a) * s.noise


def dpm_plus_plus(s: StepInput) -> jax.Array:
    """DPM-Solver++(2M), the second-order multistep solver for x0 (Lu et al. 2022, algorithm 2).

    Where there is no earlier estimate, the step is DDIM's: in the first step, and when a lagging position first moves.
    """
    h = s.log_snr_next - s.log_snr_now
    h_last = s.log_snr_now - s.log_snr_last
    starts = s.is_first | (h_last == 0.0)
    slope = jnp.where(starts, 0.0, h / (2.0 * jnp.where(starts, 1.0, h_last)))
    x0 = s.x0 + slope * (s.x0 - s.x0_last)
    return s.sigma_next / s.sigma_now * s.x_t - s.alpha_next * jnp.expm1(-h) * x0


def heun(s: StepInput, x0_next: jax.Array, x_next: jax.Array) -> jax.Array:
    """Second-order correction of DDIM's step by the slope at its end (Karras et al. 2022, algorithm 1).

    The slope d(x_t / sqrt(gamma)) / d sigma is eps = (x_t - sqrt(gamma) x0) / sqrt(1 - gamma); the correction uses the
    mean of eps at both ends.
    """
    eps = (s.x_t - s.alpha_now * s.x0) / s.sigma_now
    eps_next = (x_next - s.alpha_next * x0_next) / s.sigma_next
    return x_next + 0.5 * s.alpha_next * (s.sigma_next / s.alpha_next - s.sigma_now / s.alpha_now) * (eps_next - eps)


RULES = {
    "ddim": Rule(ddim),
    "ddpm": Rule(ddpm, needs_noise=True),
    "ddpm_small": Rule(ddpm_small, needs_noise=True),
    "dpm++": Rule(dpm_plus_plus, uses_last=True),
    "heun": Rule(ddim, correct=heun),
}


def _ratio(s: StepInput) -> jax.Array:
    return jnp.clip((s.alpha_now / s.alpha_next) ** 2, 0.0, 1.0)


def _posterior_mean(s: StepInput, a: jax.Array) -> jax.Array:
    """(x_t - (1 - a) / sqrt(1 - gamma_now) eps) / sqrt(a), written in x0 and x_t.

    The two are equal, but this form avoids cancellation near t = 1, where a is tiny.
    """
    x0_weight = s.alpha_next * (1.0 - a) / s.sigma_now**2
    x_t_weight = jnp.sqrt(a) * s.sigma_next**2 / s.sigma_now**2
    return x0_weight * s.x0 + x_t_weight * s.x_t
