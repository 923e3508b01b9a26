"""Sampling (Analog Bits, section 3.3): a plan of noise levels, a step rule, and one loop.

The network is evaluated at t_now and the state moves to t_next, which `td` (asymmetric time intervals, in steps)
shifts further toward the data. The result is the last estimate of x0, not x_t.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.diffusion.corruption import PREDICTIONS, estimate_x0
from bitdiff.diffusion.guidance import Denoise
from bitdiff.diffusion.noise_levels import Grid, Plan, corrected_steps, make_plan
from bitdiff.diffusion.schedules import Schedule
from bitdiff.diffusion.step_rules import RULES, Rule, StepInput
from bitdiff.runtime.errors import UsageError, choose


class Estimation(NamedTuple):
    """How a network's output becomes an estimate of x0, and what is fed back to the network.

    prediction: what the network outputs: 'x0', 'eps' or 'v'.
    clip: bound on the estimate (the scale of the bits), or None.
    self_cond: whether the previous estimate is fed back; otherwise x0_prev is zero.
    momentum: m in [0, 1): the estimate fed back is e <- m e + (1 - m) x0 (appendix G).
    """

    prediction: str = "x0"
    clip: float | None = 1.0
    self_cond: bool = True
    momentum: float = 0.0


PLAIN = Estimation()


class Trajectory(NamedTuple):
    """The trajectory of samples: float32 [steps, B, ...] each.

    x0: the network's estimates.
    x_t: the states they were made from.
    """

    x0: jax.Array
    x_t: jax.Array


class Samples(NamedTuple):
    """The last estimate of x0, float32 [B, ...], and the trajectory if it was requested."""

    x0: jax.Array
    trajectory: Trajectory | None


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
    x_init: jax.Array | None = None,
) -> jax.Array:
    """Draws samples by running the generative process from noise to data; may be jitted as a whole.

    Args:
      denoise: (x_t, x0_prev, gamma_t [B]) -> network output, for the whole batch.
      key: one PRNG key, from which example i derives `fold_in(key, i)`; or keys [B], one per example.
        An example's noise depends on its own key alone, never on the rest of the batch.
      shape: (B, ...).
      gamma: the sampling schedule; it may differ from the training schedule. 'heun' requires one whose first steps are
        not too large, such as `schedules.karras()`.
      steps: number of steps, 1 or more, with one network evaluation each; 'heun' takes 2 * steps - 1.
      td: shift of t_next in steps, 0 or more (the official code's unit).
      sampler: 'ddim', 'ddpm', 'ddpm_small', 'dpm++' or 'heun'.
      prediction: see `Estimation`.
      clip: see `Estimation`.
      self_cond: see `Estimation`.
      momentum: see `Estimation`.
      x_init: float32 [B, ...], the state at t = 1; standard normal by default.

    Returns:
      float32 [B, ...], the last estimate of x0.

    Raises:
      UsageError: an unknown name, or an option out of range.
    """
    plan = make_plan(gamma, Grid(steps, td))
    estimation = Estimation(prediction, clip, self_cond, momentum)
    return follow(denoise, key, shape, plan, sampler=sampler, estimation=estimation, x_init=x_init).x0


def follow(
    denoise: Denoise,
    key: jax.Array,
    shape: tuple[int, ...],
    plan: Plan,
    *,
    sampler: str = "ddim",
    estimation: Estimation = PLAIN,
    x_init: jax.Array | None = None,
    keep_trajectory: bool = False,
) -> Samples:
    """Draws samples along a prepared plan, which may lag positions, add noise, or restart; see `make_plan`.

    Args:
      denoise: as in `sample`; gamma_t is [B, L] if the plan lags.
      key: as in `sample`.
      shape: (B, ...).
      plan: the noise levels of the steps.
      sampler: as in `sample`.
      estimation: how the output becomes an estimate.
      x_init: as in `sample`.
      keep_trajectory: whether the estimates and states of all steps are returned.

    Raises:
      UsageError: an unknown name, an option out of range, or a sampler that does not support the plan.
    """
    rule = _check(sampler, estimation, plan)
    keys = example_keys(key, shape[0])
    if x_init is None:
        x_init = _normal(keys, len(plan.now), shape)
    elif x_init.shape != tuple(shape):
        raise UsageError(f"x_init has shape {x_init.shape}; it must be {tuple(shape)}")
    estimate = partial(_estimate, denoise, estimation)

    def step(state, level):
        x_t, x0_prev = state.x_t, state.x0_prev
        if plan.adds_noise:
            noise = _normal(keys, len(plan.now) + 1 + level.index, shape)
            x_t = level.kept * x_t + plan.noise_scale * level.added * noise
            x0_prev = jnp.where(level.restarts, 0.0, x0_prev)  # the old estimate would reveal what was re-noised
        x0, fed_back = estimate(x_t, x0_prev, level.gamma_now)
        noise = _normal(keys, level.index, shape) if rule.needs_noise else jnp.zeros_like(x_t)
        inputs = StepInput(x_t, x0, state.x0, noise, level.index == 0, *level.scalars)
        x_next = rule.step(inputs)
        if rule.correct is not None:
            correct = partial(_correct, rule.correct, estimate, inputs, level.gamma_after)
            x_next, fed_back = jax.lax.cond(level.corrects, correct, lambda *same: same, x_next, fed_back)
        return _State(x_next, fed_back, x0), Trajectory(x0, x_t) if keep_trajectory else None

    zeros = jnp.zeros(shape, jnp.float32)
    state, trajectory = jax.lax.scan(step, _State(x_init.astype(jnp.float32), zeros, zeros), _levels(plan))
    return Samples(state.x0, trajectory)


def example_keys(key: jax.Array, batch_size: int) -> jax.Array:
    """Typed keys [batch_size]: `key` itself if it holds one per example, otherwise fold_in(key, i)."""
    if not jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        key = jax.random.wrap_key_data(key)
    if key.ndim == 0:
        return jax.vmap(jax.random.fold_in, (None, 0))(key, jnp.arange(batch_size))
    if key.shape != (batch_size,):
        raise UsageError(f"keys of shape {key.shape} for a batch of {batch_size}; pass one key, or one per example")
    return key


class _State(NamedTuple):
    """What one step passes to the next: the state, the estimate fed back, and the last estimate."""

    x_t: jax.Array
    x0_prev: jax.Array
    x0: jax.Array


class _Level(NamedTuple):
    """What a step reads from the plan, float32, stacked over the steps; [L, 1] instead of scalars if positions lag.

    kept, added: the state whose noise is raised from `before` to `now` is kept * x_t + added * noise.
    scalars: the scalars of StepInput, in its order.
    """

    index: jax.Array
    gamma_now: jax.Array
    gamma_after: jax.Array
    corrects: jax.Array
    restarts: jax.Array
    kept: jax.Array
    added: jax.Array
    scalars: tuple[jax.Array, ...]


def _levels(plan: Plan) -> _Level:
    def as_scalar(value):
        return jnp.asarray(value[..., None] if plan.lags else value, jnp.float32)

    def coefficients(gamma):
        noise = np.maximum(1.0 - gamma, 1e-12)  # where no noise is left, the signal-to-noise ratio is infinite
        return np.sqrt(gamma), np.sqrt(noise), 0.5 * (np.log(gamma) - np.log(noise))

    _, _, log_snr_last = coefficients(np.roll(plan.now, 1, axis=0))
    scalars = (*coefficients(plan.now), *coefficients(plan.after), log_snr_last)
    return _Level(
        index=jnp.arange(len(plan.now)),
        gamma_now=jnp.asarray(plan.now, jnp.float32),
        gamma_after=jnp.asarray(plan.after, jnp.float32),
        corrects=jnp.asarray(corrected_steps(plan)),
        restarts=jnp.asarray(plan.restarts),
        kept=as_scalar(np.sqrt(plan.now / plan.before)),
        added=as_scalar(np.sqrt(np.maximum(1.0 - plan.now / plan.before, 0.0))),
        scalars=tuple(as_scalar(value) for value in scalars),
    )


def _estimate(denoise, estimation: Estimation, x_t, x0_prev, gamma) -> tuple[jax.Array, jax.Array]:
    """The estimate of x0 at x_t, and what is fed back to the next evaluation."""
    gamma_t = jnp.broadcast_to(gamma, (len(x_t), *gamma.shape))
    output = denoise(x_t, x0_prev, gamma_t)
    x0 = estimate_x0(output, x_t, gamma_t, prediction=estimation.prediction, clip=estimation.clip).astype(x_t.dtype)
    momentum = estimation.momentum
    return x0, momentum * x0_prev + (1.0 - momentum) * x0 if estimation.self_cond else x0_prev


def _correct(rule, estimate, inputs: StepInput, gamma_after, x_next, x0_prev) -> tuple[jax.Array, jax.Array]:
    """The second-order correction of a step, with a network evaluation at its end."""
    x0_next, x0_prev = estimate(x_next, x0_prev, gamma_after)
    return rule(inputs, x0_next, x_next), x0_prev


def _check(sampler: str, estimation: Estimation, plan: Plan) -> Rule:
    choose("sampler", sampler, RULES)
    choose("prediction", estimation.prediction, PREDICTIONS)
    if not 0 <= estimation.momentum < 1:
        raise UsageError(f"momentum is {estimation.momentum}; it must be at least 0 and below 1")
    rule = RULES[sampler]
    if rule.correct is not None and plan.lags:
        raise UsageError(f"the sampler {sampler!r} does not support a lag; set it to 0")
    if rule.uses_last and plan.adds_noise:
        raise UsageError(
            f"the sampler {sampler!r} supports neither churn nor restarts: it extrapolates from the previous step"
        )
    return rule


def _normal(keys: jax.Array, index: jax.typing.ArrayLike, shape: tuple[int, ...]) -> jax.Array:
    def draw(key):
        return jax.random.normal(jax.random.fold_in(key, index), shape[1:], jnp.float32)

    return jax.vmap(draw)(keys)
