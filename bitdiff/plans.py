"""Which noise levels a sampler visits: the time grid, noise that is added again, and restarts."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np

from bitdiff.errors import UsageError
from bitdiff.schedules import Schedule, karras, lagged


class Churn(NamedTuple):
    """Noise added before a step (Karras et al. 2022, algorithm 2): S_churn, S_min and S_max; 0 adds none."""

    amount: float = 0.0
    low: float = 0.0
    high: float = 1e9


NO_CHURN = Churn()


class Restart(NamedTuple):
    """A way back to be gone again (Xu et al. 2023): `times` times from sigma `low` up to `high`, down in `steps`."""

    steps: int
    times: int
    low: float
    high: float


class Plan(NamedTuple):
    """The noise levels of a sampler's steps, float64 [S], or [S, L] where positions lag.

    Before a step the state is at gamma `before`; noise takes it to `now`, where the network is asked; the step ends
    at `after`. Without churn and restarts `now` is `before`. `restarts`: bool [S], at which steps a restart begins.
    """

    before: np.ndarray
    now: np.ndarray
    after: np.ndarray
    restarts: np.ndarray

    @property
    def adds_noise(self) -> bool:
        """Whether noise is added before any step."""
        return bool(np.any(self.before != self.now))


def time_grid(steps: int, td: float = 0.0, endpoint: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Times float64 [steps]: t_now = 1 - i / steps, t_next = max(1 - (i + 1 + td) / steps, 0).

    With `endpoint` the network is last asked at t = 0 and not at 1 / steps: t_now = 1 - i / (steps - 1), as in EDM.

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


def make_plan(
    gamma: Schedule,
    steps: int,
    *,
    td: float = 0.0,
    endpoint: bool = False,
    lag: float = 0.0,
    length: int = 1,
    churn: Churn = NO_CHURN,
    restarts: Sequence[Restart] = (),
) -> Plan:
    """The levels of a time grid on a schedule, with what churn and restarts add.

    Args:
      gamma: the schedule.
      steps: as in `time_grid`.
      td: as there.
      endpoint: as there; the last step then ends at the data.
      lag: of the positions of sequences, as in `schedules.lagged`.
      length: of these sequences.
      churn: sigma becomes sigma (1 + min(amount / steps, sqrt 2 - 1)) within [low, high].
      restarts: each is inserted where the grid comes nearest to its `low`, on EDM's levels between there and `high`.

    Raises:
      UsageError: an option out of range, or lag together with churn or restarts.
    """
    churn, restarts = Churn(*churn), [Restart(*restart) for restart in restarts]  # plain tuples will do
    t_now, t_next = time_grid(steps, td, endpoint)
    if lag:
        if churn.amount or restarts:
            raise UsageError(f"lag is {lag}, which does not go with churn and restarts")
        t_now, t_next = (lagged(t, length, lag) for t in (t_now, t_next))
    with jax.ensure_compile_time_eval():
        now, after = (np.asarray(gamma(t), np.float64) for t in (t_now, t_next))
    if endpoint:
        after[-1] = 1.0
    if lag:
        return Plan(now, now, after, np.zeros(len(now), bool))
    parts = _with_restarts(now, _churned(now, steps, churn), after, restarts)
    return Plan(*(np.concatenate(levels) for levels in zip(*parts, strict=True)))


def evaluations(plan: Plan, second_order: bool) -> int:
    """How often a plan asks the network: once a step, and once more if it is corrected, which the last is not."""
    return len(plan.now) + (int(np.sum(corrects(plan))) if second_order else 0)


def corrects(plan: Plan) -> np.ndarray:
    """Which steps a second-order rule corrects, bool [S]: those that end where noise is left, but for the last."""
    return (plan.after < 1.0 - 1e-12) & (np.arange(len(plan.now)) < len(plan.now) - 1)


def sigma_of(gamma: np.ndarray) -> np.ndarray:
    """Noise over signal, sqrt(1 / gamma - 1), float64: EDM's sigma of a gamma."""
    return np.sqrt(np.maximum(1.0 - gamma, 0.0) / gamma)


def gamma_of(sigma: np.ndarray) -> np.ndarray:
    """The inverse of `sigma_of`: 1 / (1 + sigma^2)."""
    return 1.0 / (1.0 + np.asarray(sigma, np.float64) ** 2)


def _churned(now: np.ndarray, steps: int, churn: Churn) -> np.ndarray:
    if not (churn.amount >= 0 and 0 <= churn.low <= churn.high):
        raise UsageError(f"churn is {tuple(churn)}; it is (S_churn, S_min, S_max): 0 or more, and 0 <= S_min <= S_max")
    if churn.amount == 0:
        return now
    sigma = sigma_of(now)
    factor = 1.0 + min(churn.amount / steps, np.sqrt(2.0) - 1.0)
    return gamma_of(np.where((sigma >= churn.low) & (sigma <= churn.high), sigma * factor, sigma))


def _with_restarts(before, now, after, restarts: Sequence[Restart]) -> list[tuple[np.ndarray, ...]]:
    """The parts of a plan: the grid's own steps, cut where a restart is inserted, and the restarts' steps."""
    ends = np.log(np.maximum(sigma_of(after), 1e-12))
    inserted: dict[int, list[Restart]] = {}
    for restart in restarts:
        if restart.steps < 2 or restart.times < 1 or not 0 < restart.low < restart.high:
            raise UsageError(
                f"a restart of {tuple(restart)}; it is (steps, times, low, high) with 2 steps or more, once or more, "
                "and 0 < low < high"
            )
        inserted.setdefault(int(np.argmin(np.abs(ends - np.log(restart.low)))), []).append(restart)
    parts, start = [], 0
    for index in sorted(inserted):
        parts.append(_own(before, now, after, slice(start, index + 1)))
        start = index + 1
        for restart in inserted[index]:
            low = float(sigma_of(after[index]))
            if low >= restart.high:
                raise UsageError(f"a restart goes up to sigma {restart.high}, but the grid is at {low:g} there")
            t = np.linspace(1.0, 0.0, restart.steps)
            levels = np.asarray(karras(low, restart.high)(t), np.float64)
            up = np.concatenate([[after[index]], levels[1:-1]])
            parts += [(up, levels[:-1], levels[1:], np.arange(len(up)) == 0)] * restart.times
    return [*parts, _own(before, now, after, slice(start, None))]


def _own(before, now, after, part: slice) -> tuple[np.ndarray, ...]:
    return before[part], now[part], after[part], np.zeros(len(now[part]), bool)
