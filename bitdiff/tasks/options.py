"""How to sample: the options of a config's `sample` section, as one hashable value."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from bitdiff.configuration.base import SAMPLE
from bitdiff.configuration.checking import check_value
from bitdiff.diffusion import masking, poses
from bitdiff.diffusion.noise_levels import AddedNoise, Churn, Grid, Plan, Restart, evaluations, make_plan
from bitdiff.diffusion.schedules import make_schedule
from bitdiff.diffusion.step_rules import RULES
from bitdiff.runtime.errors import UsageError

# The guidance weights, by the name of their condition.
GUIDANCE = {"guidance": "class labels", "image_guidance": "pictures", "latent_guidance": "latents"}

# Options of Bit Diffusion alone, with the values that leave samples as they are.
DIFFUSION_OPTIONS = {
    "td": 0.0,
    "momentum": 0.0,
    "self_guidance": 0.0,
    "frames": 0,
    "lag": 0.0,
    "endpoint": False,
    "restarts": (),
    "churn": 0.0,
    "churn_fraction": 0.0,
    "noise_scale": 1.0,
    "schedule": "auto",
    "schedule_options": (),
}

LEAST_TRAINED_GUIDANCE = 0.5  # the smallest weight of guidance by self-conditioning in training, as in ELF

# On these, the trapezoidal rule in sigma amplifies errors: with an exact Gaussian denoiser and 10 steps on the cosine
# schedule, the variance of the samples is 70 times that of the data.
_LARGE_FIRST_STEPS = ("cosine", "linear", "sigmoid")

_MOST_STEPS = 10**6


class SampleOptions(NamedTuple):
    """How to sample; hashable, so that compiled samplers can be cached by it. Defaults are in the base config.

    sampler, steps, td, lag, endpoint: see `sampling.sample` and `noise_levels.Grid`.
    momentum: see `sampling.Estimation`.
    guidance, image_guidance, latent_guidance: weights w of D(c) + w (D(c) - D(null)) for class labels, pictures and
      latents; 0 disables guidance. (DisCo-Diff's formula and its table disagree on which weight means no guidance; this
      is the table's convention.) When combined, each D(c) is guided by those before it, while D(null) is not guided.
    self_guidance: see `guidance.self_guide`; in one evaluation per step if the model was trained with it.
    frames: number of intermediate estimates to return, evenly spread over the steps; 0 for none.
    schedule, schedule_options: the sampling schedule; 'auto' is karras with 'heun', and cosine otherwise.
    beams: beams of an autoregressive model, whose samplers are 'beam' and 'random' and which takes no steps.
    churn, churn_fraction, restarts, noise_scale: see `noise_levels.AddedNoise`.
    temperature: for docking, see `poses.reverse_step`; for masked diffusion, `masking.sample`.
    """

    sampler: str
    steps: int
    td: float
    guidance: float
    momentum: float
    self_guidance: float
    frames: int
    schedule: str
    schedule_options: tuple[tuple[str, float], ...]
    beams: int
    lag: float
    endpoint: bool
    churn: tuple[float, float, float]
    restarts: tuple[tuple[int, int, float, float], ...]
    churn_fraction: float
    noise_scale: float
    image_guidance: float
    latent_guidance: float
    temperature: float


def sample_options(section: Any, **changes: Any) -> SampleOptions:
    """The options of a config's `sample` section, with the changes that are not None.

    Raises:
      UsageError: an unknown option, or a value of the wrong form.
    """
    unknown = changes.keys() - set(SampleOptions._fields)
    if unknown:
        raise UsageError(
            f"unknown sampling options {sorted(unknown)}; valid options are: {', '.join(SampleOptions._fields)}"
        )
    fields = {name: hashable(section[name]) for name in SampleOptions._fields}
    fields["schedule_options"] = hashable(tuple(sorted(dict(section.schedule_options).items())))
    fields |= {name: hashable(value) for name, value in changes.items() if value is not None}
    return checked(SampleOptions(**fields))


def options_in_use(options: SampleOptions, neutral: Mapping[str, Any]) -> list[str]:
    """The options whose values differ from the neutral ones, as 'NAME VALUE'."""
    values = options._asdict()
    values["churn"] = options.churn[0]  # without which the others have no effect
    values["schedule_options"] = given_schedule_options(options)
    return [f"{name} {values[name]}" for name, value in neutral.items() if values[name] != value]


def given_schedule_options(options: SampleOptions) -> tuple[tuple[str, float], ...]:
    """The schedule options that are set, except for the levels of the schedule 'measured'.

    The levels are set for every model trained on a measured schedule, even if it is sampled on another.
    """
    return tuple(item for item in options.schedule_options if item[0] != "levels" and item[1] is not None)


def plan_of(options: SampleOptions, length: int = 1) -> Plan:
    """The noise levels that the options describe; `length` is the number of positions of sequences that may lag.

    Raises:
      UsageError: as in `make_plan`, a second-order sampler on a schedule whose first steps are too large for it, or a
        noise_scale without churn or restarts.
    """
    if options.noise_scale != 1.0 and not (options.churn[0] or options.churn_fraction or options.restarts):
        raise UsageError(
            f"config.sample.noise_scale is {options.noise_scale:g}, but it scales only the noise of churn and "
            "restarts; set churn, churn_fraction or restarts, or leave it at 1"
        )
    return make_plan(
        make_schedule(_schedule_of(options), dict(options.schedule_options)),
        Grid(options.steps, options.td, options.endpoint, options.lag),
        AddedNoise(
            Churn(*options.churn, options.churn_fraction),
            tuple(Restart(*restart) for restart in options.restarts),
            options.noise_scale,
        ),
        length=length,
    )


def _schedule_of(options: SampleOptions) -> str:
    """The name of the sampling schedule: 'auto' is karras for second-order samplers, and cosine for the others."""
    rule = RULES.get(options.sampler)
    second_order = rule is not None and rule.correct is not None
    if options.schedule == "auto":
        return "karras" if second_order else "cosine"
    if second_order and options.schedule in _LARGE_FIRST_STEPS:
        raise UsageError(
            f"{options.sampler} is unstable on the {options.schedule} schedule, whose first steps divide sigma by ten "
            "or more; use the karras schedule (config.sample.schedule, --schedule), or the dpm++ sampler"
        )
    return options.schedule


def network_evaluations(options: SampleOptions, task: Any = None) -> int:
    """Network evaluations per sample, not counting guidance: 2 N - 1 for N steps of 'heun'; 0 without steps.

    Args:
      options: how to sample.
      task: the model, if it may sample block by block, with the steps in every block.
    """
    if not options.steps:
        return 0
    if options.sampler in (*masking.SAMPLERS, *poses.SAMPLERS):
        return options.steps
    passes = 1 if task is None else task.passes
    return passes * evaluations(plan_of(options._replace(lag=0.0)), RULES[options.sampler].correct is not None)


def shown_steps(count: int, frames: int) -> np.ndarray:
    """The indices int [frames] of evenly spread frames among `count` steps."""
    return np.linspace(0, count - 1, frames).round().astype(int)


def hashable(value: Any) -> Any:
    """The value with all lists, however deep, replaced by tuples."""
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value


def checked(options: SampleOptions) -> SampleOptions:
    """The same options.

    Raises:
      UsageError: a value of the wrong form.
    """
    for name, field in SAMPLE.items():
        if name in SampleOptions._fields:
            check_value(f"{name} (config.sample.{name})", getattr(options, name), field)
    if options.frames > options.steps:
        raise UsageError(f"frames is {options.frames}; it must be from 0 to the number of steps, {options.steps}")
    if any(int(number) != number for restart in options.restarts for number in restart[:2]):
        raise UsageError(f"config.sample.restarts is {options.restarts}; steps and times must be integers")
    total = options.steps + sum(steps * times for steps, times, _, _ in options.restarts)
    if total > _MOST_STEPS:
        raise UsageError(f"steps and restarts add up to {total:,} steps; they must not exceed {_MOST_STEPS:,}")
    return options
