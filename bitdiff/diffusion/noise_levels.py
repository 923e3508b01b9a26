"""The noise levels a sampler visits: the time grid, churn, and restarts, prepared as a plan in float64."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from bitdiff.diffusion.schedules import Schedule, karras, lagged
from bitdiff.runtime.errors import UsageError


class Grid(NamedTuple):
    """The time grid.

    steps: number of steps, 1 or more (2 or more with `endpoint`).
    td: shift of t_next toward the data in steps, 0 or more (asymmetric time intervals, section 3.3).
    endpoint: whether the last network evaluation is at t = 0, as in EDM, instead of at 1 / steps.
    lag: lag of the positions of sequences, see `schedules.lagged`; 0 to steps - 1.
    """

    steps: int
    td: float = 0.0
    endpoint: bool = False
    lag: float = 0.0


class Churn(NamedTuple):
    """Noise added before a step (Karras et al. 2022, algorithm 2): S_churn, S_min and S_max; S_churn 0 adds none."""

    amount: float = 0.0
    low: float = 0.0
    high: float = 1e9


class Restart(NamedTuple):
    """A part of the trajectory that is repeated (Xu et al. 2023).

    The state is re-noised from sigma `low` to sigma `high` and denoised again in `steps` - 1 steps, `times` times.
    """

    steps: int
    times: int
    low: float
    high: float


class AddedNoise(NamedTuple):
    """Noise added during sampling: churn before each step, restarts, and the scale of both (EDM's S_noise)."""

    churn: Churn = Churn()
    restarts: Sequence[Restart] = ()
    scale: float = 1.0


NO_NOISE = AddedNoise()


class Plan(NamedTuple):
    """The noise levels of a sampler's steps, float64 [S], or [S, L] if positions lag.

    Before a step the state is at gamma `before`. Added noise takes it to `now`, where the network is evaluated, and the
    step ends at `after`. Without churn and restarts, `now` equals `before`.

    restarts: bool [S], the steps at which a restart begins.
    noise_scale: scale of the added noise.
    """

    before: np.ndarray
    now: np.ndarray
    after: np.ndarray
    restarts: np.ndarray
    noise_scale: float = 1.0

    @property
    def adds_noise(self) -> bool:
        """Whether noise is added before any step."""
        return bool(np.any(self.before != self.now))

    @property
    def lags(self) -> bool:
        """Whether the positions of a sequence have noise levels of their own."""
        return self.now.ndim == 2


def time_grid(steps: int, td: float = 0.0, endpoint: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Times float64 [steps]: t_now = 1 - i / steps, t_next = max(1 - (i + 1 + td) / steps, 0).

    With `endpoint`, t_now = 1 - i / (steps - 1), as in EDM: the last network evaluation is at t = 0.

    Raises:
      UsageError: steps is not a positive integer (2 or more with `endpoint`), or td is negative.
    """
    if steps != int(steps) or steps < 1 + endpoint:
        raise UsageError(f"steps is {steps}; it must be an integer, {'2 or more' if endpoint else '1 or more'}")
    if not td >= 0:
        raise UsageError(f"td is {td}; it must be 0 or more (in units of steps)")
    i = np.arange(int(steps))
    intervals = steps - endpoint
    return 1.0 - i / intervals, np.maximum(1.0 - (i + 1 + td) / intervals, 0.0)


def make_plan(gamma: Schedule, grid: Grid, noise: AddedNoise = NO_NOISE, *, length: int = 1) -> Plan:
    """The noise levels of a time grid on a schedule, with churn and restarts.

    Churn raises sigma to sigma (1 + min(S_churn / steps, sqrt 2 - 1)) for sigma in [S_min, S_max]. Each restart is
    inserted where the grid is nearest to its `low`, and visits EDM's levels between that level and its `high`.

    Args:
      gamma: the sampling schedule.
      grid: the time grid; with `endpoint` the last step ends at the data.
      noise: churn and restarts.
      length: number of positions of the sequences, used if they lag.

    Raises:
      UsageError: an option is out of range, or a lag is combined with churn or restarts.
    """
    churn, restarts = Churn(*noise.churn), [Restart(*restart) for restart in noise.restarts]
    t_now, t_next = time_grid(grid.steps, grid.td, grid.endpoint)
    _check_lag(grid)
    if grid.lag:
        if churn.amount or restarts:
            raise UsageError(f"lag is {grid.lag}; it must be 0 with churn or restarts")
        t_now, t_next = (lagged(t, length, grid.lag) for t in (t_now, t_next))
    with jax.ensure_compile_time_eval():
        now, after = (np.asarray(gamma(t), np.float64) for t in (t_now, t_next))
    if grid.endpoint:
        after[-1] = 1.0
    if grid.lag:
        return Plan(now, now, after, np.zeros(len(now), bool), noise.scale)
    parts = _with_restarts(now, _churned(now, grid.steps, churn), after, restarts)
    before, now, after, starts = (np.concatenate(levels) for levels in zip(*parts, strict=True))
    return Plan(before, now, after, starts, noise.scale)


def evaluations(plan: Plan, second_order: bool) -> int:
    """The number of network evaluations: one per step, and a second one in every step that is corrected."""
    return len(plan.now) + (int(np.sum(corrected_steps(plan))) if second_order else 0)


def corrected_steps(plan: Plan) -> np.ndarray:
    """The steps that a second-order rule corrects, bool [S]: those that end above zero noise, except the last."""
    if plan.lags:
        return np.zeros(len(plan.now), bool)
    return (plan.after < 1.0 - 1e-12) & (np.arange(len(plan.now)) < len(plan.now) - 1)


def sigma_of(gamma: np.ndarray) -> np.ndarray:
    """EDM's sigma of a gamma, sqrt(1 / gamma - 1), in float64."""
    return np.sqrt(np.maximum(1.0 - gamma, 0.0) / gamma)


def gamma_of(sigma: np.ndarray) -> np.ndarray:
    """The inverse of `sigma_of`: 1 / (1 + sigma^2)."""
    return 1.0 / (1.0 + np.asarray(sigma, np.float64) ** 2)


def _check_lag(grid: Grid) -> None:
    if not grid.lag >= 0:
        raise UsageError(f"lag is {grid.lag}; it must be 0 or more")
    if grid.lag and grid.steps < 1 + grid.lag:
        raise UsageError(
            f"lag is {grid.lag:g} with {grid.steps} steps; use {math.ceil(1 + grid.lag)} steps or more, so that every "
            "position is denoised in at least one"
        )


def _churned(now: np.ndarray, steps: int, churn: Churn) -> np.ndarray:
    if not (churn.amount >= 0 and 0 <= churn.low <= churn.high):
        raise UsageError(
            f"churn is {tuple(churn)}; it must be (S_churn, S_min, S_max) with S_churn >= 0 and 0 <= S_min <= S_max"
        )
    if churn.amount == 0:
        return now
    sigma = sigma_of(now)
    factor = 1.0 + min(churn.amount / steps, np.sqrt(2.0) - 1.0)
    return gamma_of(np.where((sigma >= churn.low) & (sigma <= churn.high), sigma * factor, sigma))


def _with_restarts(before, now, after, restarts: Sequence[Restart]) -> list[tuple[np.ndarray, ...]]:
    """The parts of a plan in order: the grid's own steps, cut where a restart is inserted, and the restarts' steps."""
    ends = np.log(np.maximum(sigma_of(after), 1e-12))
    inserted: dict[int, list[Restart]] = {}
    for restart in restarts:
        if restart.steps < 2 or restart.times < 1 or not 0 < restart.low < restart.high:
            raise UsageError(
                f"restarts contains {tuple(restart)}; a restart must be (steps, times, low, high) with steps >= 2, "
                "times >= 1 and 0 < low < high"
            )
        inserted.setdefault(int(np.argmin(np.abs(ends - np.log(restart.low)))), []).append(restart)
    parts, start = [], 0
    for index in sorted(inserted):
        parts.append(_grid_part(before, now, after, slice(start, index + 1)))
        start = index + 1
        for restart in inserted[index]:
            low = float(sigma_of(after[index]))
            if low >= restart.high:
                raise UsageError(
                    f"a restart in restarts goes up to sigma {restart.high}, but the grid is already at {low:g} there"
                )
            t = np.linspace(1.0, 0.0, restart.steps)
            levels = np.asarray(karras(low, restart.high)(t), np.float64)
            starts = np.concatenate([[after[index]], levels[1:-1]])
            parts += [(starts, levels[:-1], levels[1:], np.arange(len(starts)) == 0)] * restart.times
    return [*parts, _grid_part(before, now, after, slice(start, None))]


def _grid_part(before, now, after, part: slice) -> tuple[np.ndarray, ...]:
    return before[part], now[part], after[part], np.zeros(len(now[part]), bool)
