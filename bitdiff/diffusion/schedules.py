"""Noise schedules gamma(t), the fraction of signal variance left at time t (0 = data, 1 = noise).

Each function returns a decreasing `gamma: t -> gamma(t)` for t in [0, 1]. Given a jax array, a schedule
computes in that array's dtype; given a number or a NumPy array, it computes in float64, which the
sampler uses so that 1 - gamma keeps its precision near t = 0.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from bitdiff.runtime.errors import UsageError, choose

Schedule = Callable[[Any], Any]

_MIN_GAMMA = 1e-9


def cosine(start: float | None = None, end: float | None = None, tau: float | None = None) -> Schedule:
    """The cosine schedule.

    Without arguments, the paper's: cos^2(((t + ns) / (1 + ds)) pi / 2), ns = 0.0002, ds = 0.00025.
    With any argument, the generalized form (start 0, end 1 and tau 1 by default):
    (cos^(2 tau)((t (end - start) + start) pi / 2) - y_end) / (y_start - y_end), clipped to [1e-9, 1].
    """
    if start is None and end is None and tau is None:
        return lambda t: _xp(t).cos((t + 0.0002) / 1.00025 * (np.pi / 2)) ** 2
    start, end, tau = (default if v is None else v for v, default in ((start, 0.0), (end, 1.0), (tau, 1.0)))
    _check(start != end and 0 <= start <= 1 and 0 <= end <= 1, "cosine", "different start and end within [0, 1]")
    _check(tau > 0, "cosine", "tau > 0")
    y_start, y_end = (np.cos(v * np.pi / 2) ** (2 * tau) for v in (start, end))

    def gamma(t):
        xp = _xp(t)
        # Just past pi / 2 the cosine is a tiny negative number, whose power would be nan.
        y = xp.maximum(xp.cos((t * (end - start) + start) * (np.pi / 2)), 0.0) ** (2 * tau)
        return xp.clip((y - y_end) / (y_start - y_end), _MIN_GAMMA, 1.0)

    return gamma


def linear() -> Schedule:
    """The linear schedule: clip(1 - t, 1e-9, 1)."""
    return lambda t: _xp(t).clip(1.0 - t, _MIN_GAMMA, 1.0)


def sigmoid(start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Schedule:
    """The sigmoid schedule, with s the logistic function, clipped to [1e-9, 1].

    (s(end / tau) - s((t (end - start) + start) / tau)) / (s(end / tau) - s(start / tau)).
    """
    _check(start < end, "sigmoid", "start < end")
    _check(tau > 0, "sigmoid", "tau > 0")
    s_start, s_end = (1.0 / (1.0 + np.exp(-v / tau)) for v in (start, end))

    def gamma(t):
        xp = _xp(t)
        s = 1.0 / (1.0 + xp.exp(-(t * (end - start) + start) / tau))
        return xp.clip((s_end - s) / (s_end - s_start), _MIN_GAMMA, 1.0)

    return gamma


def karras(sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Schedule:
    """EDM's sampling levels (Karras et al. 2022, equation 5), with sigma = sqrt(1 / gamma - 1).

    sigma(t) = (sigma_min^(1 / rho) + t (sigma_max^(1 / rho) - sigma_min^(1 / rho)))^rho.
    """
    _check(0 < sigma_min < sigma_max, "karras", "0 < sigma_min < sigma_max")
    _check(rho > 0, "karras", "rho > 0")
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    return lambda t: 1.0 / (1.0 + (low + t * (high - low)) ** (2 * rho))


def lognormal(mean: float = -1.2, std: float = 1.2) -> Schedule:
    """EDM's training levels: for uniform t, ln sigma is normal with this mean and standard deviation."""
    _check(std > 0, "lognormal", "std > 0")

    def gamma(t):
        normal = (jax.scipy if isinstance(t, jax.Array) else scipy).special.ndtri(_xp(t).clip(t, 1e-6, 1 - 1e-6))
        return 1.0 / (1.0 + _xp(t).exp(2.0 * (mean + std * normal)))

    return gamma


def measured(levels: Sequence[float] = ()) -> Schedule:
    """A schedule through measured levels, such as those at equal quantiles of the entropy rate (`entropy_rate.py`).

    ln(gamma / (1 - gamma)) is interpolated between `levels`, equally spaced in t from t = 0 (data) to t = 1 (noise).
    """
    values = np.asarray(levels, np.float64)
    if not len(values):
        raise UsageError(
            "the schedule is 'measured', but there are no measured levels: run bitdiff.schedule on a trained run, and "
            "sample from that run, or train with config.diffusion.schedule_run set to it"
        )
    _check(len(values) >= 2 and bool(np.all(np.diff(values) < 0)), "measured", "two or more levels that decrease")
    times = np.linspace(0.0, 1.0, len(values))
    return lambda t: 1.0 / (1.0 + _xp(t).exp(-_xp(t).interp(t, times, values)))


SCHEDULES = {
    "cosine": cosine,
    "linear": linear,
    "sigmoid": sigmoid,
    "karras": karras,
    "lognormal": lognormal,
    "measured": measured,
}
_OPTIONS = {
    "cosine": ("start", "end", "tau"),
    "linear": (),
    "sigmoid": ("start", "end", "tau"),
    "karras": ("sigma_min", "sigma_max", "rho"),
    "lognormal": ("mean", "std"),
    "measured": ("levels",),
}


def make_schedule(name: str, options: Mapping[str, Any] | None = None) -> Schedule:
    """The schedule of that name; `options` are its keyword arguments, except those that are None.

    `levels` are ignored by other schedules, so that a sampler can choose between them.

    Raises:
      UsageError: an unknown name, an unknown option, or an option out of range.
    """
    choose("schedule", name, SCHEDULES)
    options = {option: value for option, value in (options or {}).items() if value is not None}
    if name != "measured":
        options.pop("levels", None)
    for option in options:
        choose(f"option of the {name} schedule", option, _OPTIONS[name])
    return SCHEDULES[name](**options)


def lagged(t: Any, length: int, lag: float) -> Any:
    """The time of each position of a sequence, when every position lags behind the one before it.

    t_i = clip(t (1 + lag) - lag (1 - i / (length - 1)), 0, 1). All positions are noise at t = 1 and data at t = 0. One
    position is denoised within 1 / (1 + lag) of the trajectory, and the last starts lag / (1 + lag) after the first
    (Ruhe et al. 2024, "Rolling Diffusion"). With lag 0 all positions have the same time; with a large lag they are
    denoised one after another, as in an autoregressive model.

    Args:
      t: float [...], times of whole sequences.
      length: number of positions.
      lag: 0 or more.

    Returns:
      float [..., length].
    """
    xp = _xp(t)
    behind = 1.0 - np.arange(length) / max(length - 1, 1)
    return xp.clip(xp.asarray(t)[..., None] * (1.0 + lag) - lag * behind, 0.0, 1.0)


def inverse(gamma: Schedule) -> Schedule:
    """The time t at which a schedule has a given gamma, by interpolation between 8,193 points.

    A network whose input is t gets it from the noise level, so that any schedule can be used for sampling.
    """
    t = np.linspace(1.0, 0.0, 8193)
    with jax.ensure_compile_time_eval():
        values = np.asarray(gamma(t), np.float64)
    return lambda g: _xp(g).interp(g, values, t)


def _xp(t: Any):
    return jnp if isinstance(t, jax.Array) else np


def _check(ok: bool, name: str, wanted: str) -> None:
    if not ok:
        raise UsageError(f"the {name} schedule requires {wanted}")
