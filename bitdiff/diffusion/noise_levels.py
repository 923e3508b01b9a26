"""The noise levels a sampler visits: the time grid, churn, and restarts, prepared as a plan in float64."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from bitdiff.diffusion.schedules import Schedule, inverse, karras, lagged
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
    """Noise added before a step (Karras et al. 2022, algorithm 2).

    amount, low, high: S_churn, S_min and S_max; S_churn 0 adds none.
    fraction: the rise of sigma before a step as a fraction of it, whatever the number of steps; 0 to use S_churn.
    """

    amount: float = 0.0
    low: float = 0.0
    high: float = 1e9
    fraction: float = 0.0


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

    Churn raises sigma to sigma (1 + min(S_churn / steps, sqrt 2 - 1)), or sigma (1 + fraction), for sigma in [S_min,
    S_max]; with a lag, only at positions whose noise level changes in the step. Each restart is inserted where the grid
    is nearest to its `low`, and visits EDM's levels between that level and its `high`; with a lag, these are the levels
    of the position that does not lag, and the levels of the others follow from the same times.

    Args:
      gamma: the sampling schedule.
      grid: the time grid; with `endpoint` the last step ends at the data.
      noise: churn and restarts.
      length: number of positions of the sequences, used if they lag.

    Raises:
      UsageError: an option is out of range.
    """
    t_now, t_next = time_grid(grid.steps, grid.td, grid.endpoint)
    _check_lag(grid)
    before, after = (_levels(gamma, t, grid.lag, length) for t in (t_now, t_next))
    ends = sigma_of(_levels(gamma, t_next))
    if grid.endpoint:
        after[-1], ends[-1] = 1.0, 0.0
    steps = before, _churned(before, after, grid.steps, Churn(*noise.churn)), after
    parts, start = [], 0
    for index, restarts in sorted(_places(ends, noise.restarts).items()):
        parts.append(_grid_part(*steps, slice(start, index + 1)))
        start = index + 1
        for restart in restarts:
            parts += [_restart_part(restart, ends[index], after[index], gamma, grid.lag, length)] * restart.times
    parts.append(_grid_part(*steps, slice(start, None)))
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


def _levels(gamma: Schedule, t: np.ndarray, lag: float = 0.0, length: int = 1) -> np.ndarray:
    """The noise levels at times [S]: float64 [S], or [S, length] if positions lag."""
    with jax.ensure_compile_time_eval():
        return np.asarray(gamma(lagged(t, length, lag) if lag else t), np.float64).copy()


def _churned(now: np.ndarray, after: np.ndarray, steps: int, churn: Churn) -> np.ndarray:
    if not (churn.amount >= 0 and 0 <= churn.low <= churn.high):
        raise UsageError(
            f"churn is {tuple(churn[:3])}; it must be (S_churn, S_min, S_max) with S_churn >= 0 and 0 <= S_min <= S_max"
        )
    if not churn.fraction >= 0 or (churn.fraction and churn.amount):
        raise UsageError(
            f"churn_fraction is {churn.fraction} and S_churn {churn.amount}; both must be 0 or more, and at least one 0"
        )
    if churn.amount == 0 == churn.fraction:
        return now
    sigma = sigma_of(now)
    factor = 1.0 + (churn.fraction or min(churn.amount / steps, np.sqrt(2.0) - 1.0))
    moves = (after != now) & (sigma >= churn.low) & (sigma <= churn.high)
    return np.where(moves, gamma_of(sigma * factor), now)


def _places(ends: np.ndarray, restarts: Sequence[Restart]) -> dict[int, list[Restart]]:
    """The restarts by the step after which they are inserted; `ends` are the sigmas at which the steps end."""
    places: dict[int, list[Restart]] = {}
    for restart in (Restart(*restart) for restart in restarts):
        if restart.steps < 2 or restart.times < 1 or not 0 < restart.low < restart.high:
            raise UsageError(
                f"restarts contains {tuple(restart)}; a restart must be (steps, times, low, high) with steps >= 2, "
                "times >= 1 and 0 < low < high"
            )
        distances = np.abs(np.log(np.maximum(ends, 1e-12)) - np.log(restart.low))
        places.setdefault(int(np.argmin(distances)), []).append(restart)
    return places


def _restart_part(
    restart: Restart, low: float, after: np.ndarray, gamma: Schedule, lag: float, length: int
) -> tuple[np.ndarray, ...]:
    """The steps of a restart that follows a step to sigma `low` and the levels `after`."""
    if low >= restart.high:
        raise UsageError(
            f"a restart in restarts goes up to sigma {restart.high}, but the grid is already at {low:g} there"
        )
    levels = np.asarray(karras(low, restart.high)(np.linspace(1.0, 0.0, restart.steps)), np.float64)
    if lag:
        levels = _levels(gamma, inverse(gamma)(levels), lag, length)
        levels[-1] = after
    before = np.concatenate([after[None], levels[1:-1]])
    return before, levels[:-1], levels[1:], np.arange(len(before)) == 0


def _grid_part(before, now, after, part: slice) -> tuple[np.ndarray, ...]:
    return before[part], now[part], after[part], np.zeros(len(now[part]), bool)
