"""Sampling (Analog Bits, section 3.3): a plan of noise levels, a step rule, and one loop.

The network is asked at t_now and the state is moved to t_next, which `td` (asymmetric time intervals,
in steps) moves further towards the data. The last x0 estimate is returned, not x_t.

All is in the variance-preserving form. EDM's state, with sigma the noise over the signal, is x_t / sqrt(gamma) with
gamma = 1 / (1 + sigma^2): Euler's step there is DDIM's here, and a step to sigma = 0 gives the estimate itself.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff import diffusion
from bitdiff.errors import UsageError, choose
from bitdiff.plans import NO_CHURN, Churn, Plan, Restart, corrects, make_plan
from bitdiff.schedules import Schedule

# (x_t [B, ...], x0_prev [B, ...], gamma_t [B], or [B, L] where positions lag) -> network output [B, ...]
Denoise = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


class StepInput(NamedTuple):
    """What a step rule may use: arrays [B, ...] and, per step, scalars in float32, or [L, 1] where positions lag.

    alpha = sqrt(gamma), sigma = sqrt(1 - gamma), log_snr = log(gamma / (1 - gamma)) / 2; `now` is where
    the network was asked, `next` where the state goes, `last` where it was asked one step before.
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

    Its first step is DDIM's, since no earlier estimate exists; so is that in which a lagging position first moves.
    """
    h = s.log_snr_next - s.log_snr_now
    h_last = s.log_snr_now - s.log_snr_last
    starts = s.is_first | (h_last == 0.0)
    slope = jnp.where(starts, 0.0, h / (2.0 * jnp.where(starts, 1.0, h_last)))
    x0 = s.x0 + slope * (s.x0 - s.x0_last)
    return s.sigma_next / s.sigma_now * s.x_t - s.alpha_next * jnp.expm1(-h) * x0


def heun(s: StepInput, x0_next: jax.Array, x_next: jax.Array) -> jax.Array:
    """Corrects DDIM's step by the slope at its end (Karras et al. 2022, algorithm 1), given the estimate there.

    The slope d x_t / sqrt(gamma) by d sigma is eps = (x_t - sqrt(gamma) x0) / sqrt(1 - gamma), here the mean of both.
    """
    eps = (s.x_t - s.alpha_now * s.x0) / s.sigma_now
    eps_next = (x_next - s.alpha_next * x0_next) / s.sigma_next
    return x_next + 0.5 * s.alpha_next * (s.sigma_next / s.alpha_next - s.sigma_now / s.alpha_now) * (eps_next - eps)


class _Rule(NamedTuple):
    step: Callable[[StepInput], jax.Array]
    needs_noise: bool = False
    correct: Callable[[StepInput, jax.Array, jax.Array], jax.Array] | None = None


RULES = {
    "ddim": _Rule(ddim),
    "ddpm": _Rule(ddpm, needs_noise=True),
    "ddpm_small": _Rule(ddpm_small, needs_noise=True),
    "dpm++": _Rule(dpm_plus_plus),
    "heun": _Rule(ddim, correct=heun),
}


class Path(NamedTuple):
    """The way of samples: float32 [steps, B, ...] each.

    x0: the network's estimates.
    x_t: the states that it made them from.
    """

    x0: jax.Array
    x_t: jax.Array


def guide(conditional: Denoise, unconditional: Denoise, guidance: float) -> Denoise:
    """Classifier-free guidance: cond + guidance (cond - uncond); guidance 0 is plain conditional."""

    def denoise(x_t, x0_prev, gamma_t):
        output = conditional(x_t, x0_prev, gamma_t)
        return output + guidance * (output - unconditional(x_t, x0_prev, gamma_t))

    return denoise


def self_guide(denoise: Denoise, weight: float, *, prediction: str, clip: float | None) -> Denoise:
    """Guidance by self-conditioning (appendix G): w s + (1 - w) u, with two evaluations a step.

    u is the output without an estimate, s the output given the x0 estimate of u; the estimate of the step
    before is not used. The paper finds weights of 3 to 5 best.
    """

    def guided(x_t, x0_prev, gamma_t):
        without = denoise(x_t, jnp.zeros_like(x0_prev), gamma_t)
        estimate = diffusion.estimate_x0(without, x_t, gamma_t, prediction=prediction, clip=clip)
        return weight * denoise(x_t, estimate, gamma_t) + (1.0 - weight) * without

    return guided


def infill(denoise: Denoise, known: jax.Array, mask: jax.Array, keys: jax.Array) -> Denoise:
    """Holds some entries of x0 to known values, so that the others are drawn to go with them.

    Wherever the mask holds, the network sees the known value with the noise of its level (always the same noise), and
    the estimate, of prediction 'x0', is the known value.

    Args:
      denoise: of prediction 'x0'.
      known: float [B, ...].
      mask: bool [B, ...].
      keys: PRNG keys [B], of the noise.
    """
    eps = jax.vmap(lambda key: jax.random.normal(key, known.shape[1:]))(keys)

    def held(x_t, x0_prev, gamma_t):
        x_t = jnp.where(mask, diffusion.corrupt(known, eps, gamma_t), x_t)
        return jnp.where(mask, known, denoise(x_t, x0_prev, gamma_t))

    return held


def sample(
    denoise: Denoise,
    key: jax.Array,
    shape: tuple[int, ...],
    *,
    gamma: Schedule,
    steps: int,
    td: float = 0.0,
    sampler: str = "ddim",
    prediction: str = "x0",
    clip: float | None = 1.0,
    self_cond: bool = True,
    momentum: float = 0.0,
    lag: float = 0.0,
    endpoint: bool = False,
    churn: Churn = NO_CHURN,
    restarts: Sequence[Restart] = (),
    noise_scale: float = 1.0,
    x_init: jax.Array | None = None,
    keep_all: bool = False,
) -> jax.Array | Path:
    """Draws samples by running the generative process from noise to data; may be jitted as a whole.

    Args:
      denoise: (x_t, x0_prev, gamma_t [B]) -> network output, for the whole batch.
      key: one PRNG key, from which example i takes `fold_in(key, i)`; or keys [B], one per example.
        An example's noise depends on its own key alone, never on the batch it is drawn in.
      shape: (B, ...).
      gamma: the sampling schedule; it may differ from the training schedule.
      steps: number of steps, 1 or more, each a network evaluation; 'heun' takes 2 steps - 1 evaluations.
      td: shift of t_next in steps, 0 or more (the official code's unit).
      sampler: 'ddim', 'ddpm', 'ddpm_small', 'dpm++' or 'heun'.
      prediction: what the network outputs: 'x0', 'eps' or 'v'.
      clip: bound on the x0 estimate (the scale of the bits), or None.
      self_cond: whether the previous estimate is fed back; otherwise x0_prev is zero.
      momentum: m in [0, 1): the estimate fed back is e <- m e + (1 - m) x0 (appendix G).
      lag: of the positions of sequences [B, L, C], see `schedules.lagged`; 0 to steps - 1: a position's noise leaves in
        steps / (1 + lag) steps.
      endpoint: whether the network is last asked at t = 0, as in EDM, and not at 1 / steps; see `plans.time_grid`.
      churn: noise added before each step, see `plans.Churn`.
      restarts: parts of the way gone several times, see `plans.Restart`.
      noise_scale: of the noise that churn and restarts add (S_noise).
      x_init: float32 [B, ...], the state at t = 1; drawn from the standard normal where not given.
      keep_all: whether the estimates of all steps, and where they were made, are returned.

    Returns:
      float32 [B, ...], the last x0 estimate; with keep_all the `Path`.

    Raises:
      UsageError: an unknown name, or an option out of range.
    """
    choose("sampler", sampler, RULES)
    choose("prediction", prediction, diffusion.PREDICTIONS)
    if not 0 <= momentum < 1:
        raise UsageError(f"momentum is {momentum}; it must be at least 0 and below 1")
    if not lag >= 0:
        raise UsageError(f"lag is {lag}; it must be 0 or more")
    if lag and steps < 1 + lag:
        raise UsageError(
            f"lag is {lag:g} in {steps} steps; take {math.ceil(1 + lag)} steps or more, so that every position has one "
            "on its way from noise to data"
        )
    rule = RULES[sampler]
    if rule.correct and lag:
        raise UsageError(f"lag is {lag}; the sampler {sampler!r} takes none (0)")
    plan = make_plan(gamma, steps, td=td, endpoint=endpoint, lag=lag, length=shape[1], churn=churn, restarts=restarts)
    if plan.adds_noise and sampler == "dpm++":
        raise UsageError("the sampler 'dpm++' takes no churn and no restarts: it goes by the step before")
    keys = example_keys(key, shape[0])
    if x_init is None:
        x_init = _normal(keys, len(plan.now), shape)
    elif x_init.shape != tuple(shape):
        raise UsageError(f"x_init has shape {x_init.shape}; it must be {tuple(shape)}")

    def ask(x_t, x0_prev, gamma_now):
        gamma_t = jnp.broadcast_to(gamma_now, (shape[0], *gamma_now.shape))
        output = denoise(x_t, x0_prev, gamma_t)
        x0 = diffusion.estimate_x0(output, x_t, gamma_t, prediction=prediction, clip=clip).astype(x_t.dtype)
        return x0, momentum * x0_prev + (1.0 - momentum) * x0 if self_cond else x0_prev

    def step(carry, inputs):
        x_t, x0_prev, x0_last = carry
        i, gammas, corrected, scalars = inputs
        kept, added = scalars.pop("kept"), scalars.pop("added")
        if plan.adds_noise:
            x_t = kept * x_t + noise_scale * added * _normal(keys, len(plan.now) + 1 + i, shape)
            x0_prev = jnp.where(scalars.pop("restarts"), 0.0, x0_prev)  # it knows what the noise was to hide
        asked_at = x_t
        x0, x0_prev = ask(x_t, x0_prev, gammas["now"])
        noise = _normal(keys, i, shape) if rule.needs_noise else jnp.zeros_like(x_t)
        moved = StepInput(x_t=x_t, x0=x0, x0_last=x0_last, noise=noise, is_first=i == 0, **scalars)
        x_t = rule.step(moved)
        if rule.correct:

            def correct(x_next, x0_prev):
                x0_next, x0_prev = ask(x_next, x0_prev, gammas["after"])
                return rule.correct(moved, x0_next, x_next), x0_prev

            x_t, x0_prev = jax.lax.cond(corrected, correct, lambda *unchanged: unchanged, x_t, x0_prev)
        return (x_t, x0_prev, x0), Path(x0, asked_at) if keep_all else None

    zeros = jnp.zeros(shape, jnp.float32)
    carry = (x_init.astype(jnp.float32), zeros, zeros)
    (_, _, x0), path = jax.lax.scan(step, carry, _scan_inputs(plan, lag > 0))
    return path if keep_all else x0


def example_keys(key: jax.Array, batch_size: int) -> jax.Array:
    """Typed keys [batch_size]: `key` itself where it holds one per example, else fold_in(key, i)."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch_size))
    if key.shape != (batch_size,):
        raise UsageError(f"keys of shape {key.shape} for a batch of {batch_size}; give one key, or one per example")
    return key


def _scan_inputs(plan: Plan, lags: bool):
    """Per step: its index, gamma where the network is asked, and the scalars of `StepInput`, from float64."""
    scalars = {}
    for name, g in {"now": plan.now, "next": plan.after, "last": np.roll(plan.now, 1, axis=0)}.items():
        # A schedule that reaches 1 exactly (no noise left) has an infinite signal-to-noise ratio.
        noise = np.maximum(1.0 - g, 1e-12)
        scalars[f"alpha_{name}"] = np.sqrt(g)
        scalars[f"sigma_{name}"] = np.sqrt(noise)
        scalars[f"log_snr_{name}"] = 0.5 * (np.log(g) - np.log(noise))
    del scalars["alpha_last"], scalars["sigma_last"]
    # How much is kept of a state whose noise is raised from `before` to `now`, and how much noise is added.
    scalars["kept"] = np.sqrt(plan.now / plan.before)
    scalars["added"] = np.sqrt(np.maximum(1.0 - plan.now / plan.before, 0.0))
    if plan.adds_noise:
        scalars["restarts"] = plan.restarts
    scalars = {name: jnp.asarray(value[..., None] if lags else value, jnp.float32) for name, value in scalars.items()}
    return (
        jnp.arange(len(plan.now)),
        {"now": jnp.asarray(plan.now, jnp.float32), "after": jnp.asarray(plan.after, jnp.float32)},
        jnp.asarray(corrects(plan) if not lags else np.zeros(len(plan.now), bool)),
        scalars,
    )


def _normal(keys: jax.Array, index: jax.typing.ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    def draw(key):
        return jax.random.normal(jax.random.fold_in(key, index), shape[1:], jnp.float32)

    return jax.vmap(draw)(keys)


def _ratio(s: StepInput) -> jax.Array:
    return jnp.clip((s.alpha_now / s.alpha_next) ** 2, 0.0, 1.0)


def _posterior_mean(s: StepInput, a: jax.Array) -> jax.Array:
    """(x_t - (1 - a) / sqrt(1 - gamma_now) eps) / sqrt(a), written in x0 and x_t.

    The two are equal; this form does not cancel near t = 1, where a is tiny.
    """
    x0_weight = s.alpha_next * (1.0 - a) / s.sigma_now**2
    x_t_weight = jnp.sqrt(a) * s.sigma_next**2 / s.sigma_now**2
    return x0_weight * s.x0 + x_t_weight * s.x_t
