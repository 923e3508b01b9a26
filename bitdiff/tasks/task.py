"""The one interface between a model and the commands: pure functions in a NamedTuple."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from bitdiff import plans, sampling, schedules
from bitdiff.data import Dataset, Source
from bitdiff.errors import UsageError


class SampleOptions(NamedTuple):
    """How to sample; hashable, so that a compiled sampler is known by it.

    `sampling.sample` explains sampler, steps, td, momentum and lag, `sampling.guide` the guidance,
    `sampling.self_guide` the self-guidance, and `plans` endpoint, churn, restarts and noise_scale.
    latent_guidance: D(z) + w (D(z) - D(null)) of a model with latents; 0 is plain. (DisCo-Diff's formula and its table
    disagree on what weight is plain; here as in the table.) With guidance as well D(z) is the guided estimate, D(null)
    is not guided.
    frames: how many estimates, evenly spread over the steps, are kept.
    beams: of an autoregressive model, whose samplers are 'beam' and 'random' and which takes no steps.
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
    beams: int = 1
    lag: float = 0.0
    endpoint: bool = False
    churn: tuple[float, float, float] = (0.0, 0.0, 1e9)
    restarts: tuple[tuple[int, int, float, float], ...] = ()
    noise_scale: float = 1.0
    latent_guidance: float = 0.0


class Score(NamedTuple):
    """One measured number and what it is, for a reader who sees nothing else."""

    value: float
    about: str


class Task(NamedTuple):
    """A model that can be trained, sampled and evaluated.

    field: what it generates, 'image', 'tokens' or 'point', the name among its outputs.
    init: key -> parameters.
    loss: (params, batch, keys [B]) -> (loss, metrics): the mean over the batch, float32 [], and scalars by
      name. An example's randomness comes from its own key.
    sample: (params, condition, keys [B], options) -> outputs: arrays [B, ...] by name: 'image' or 'tokens' as
      the data have them, 'invalid' float32, the share of codes that name no value, 'histogram' of the analog
      bits as in `metrics.bits`, and with options.frames 'trajectory' [B, frames, ...], estimates on the way.
    condition: (indices int [B], labels or None, images or None) -> arrays [B, ...] by name: what sample number i is to
      be. A model that describes pictures takes them from `images`, in turn (blank ones without), and gives their
      numbers among them as 'source'; so does one with latents, which infers them from the examples there (without: the
      null latents). A prior of bits takes 'known' from there, int [latents], and draws those that are -1.
    evaluate: (outputs, dataset, options) -> scores by name; runs on the host.
    start: parameters -> parameters to begin training with: published weights in place of random ones.
    network: (params, condition, batch size) -> one call of the network on zeros, to be timed beside sampling; None
      where sampling is more than such calls.
    told_by_examples: whether `condition` takes examples as `images`.
    frozen: entries of the parameters that training leaves as they are.
    losses: (params, batch, keys [B]) -> (loss [N], t [N]) of each example, of which `loss` is the mean; None where
      there is no time.
    infer: (params, the examples' values [B, ...], keys [B]) -> int32 [B, latents]; None without latents.
    """

    field: str
    init: Callable[[jax.Array], Any]
    loss: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
    sample: Callable[[Any, dict[str, jax.Array], jax.Array, SampleOptions], dict[str, jax.Array]]
    condition: Callable[..., dict[str, np.ndarray]]
    evaluate: Callable[[dict[str, np.ndarray], Dataset, SampleOptions], dict[str, Score]]
    start: Callable[[Any], Any] = lambda params: params
    network: Callable[[Any, dict[str, jax.Array], int], jax.Array] | None = None
    told_by_examples: bool = False
    frozen: tuple[str, ...] = ()
    losses: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, jax.Array]] | None = None
    infer: Callable[[Any, jax.Array, jax.Array], jax.Array] | None = None


def examples_for(task: Task, dataset: Dataset) -> Source | None:
    """What tells a task's samples: the test examples (the training examples where there are none), or None."""
    if not task.told_by_examples:
        return None
    return dataset.test if len(dataset.test) else dataset.train


def sample_options(section: Any, **changes: Any) -> SampleOptions:
    """The options of a config's `sample` section, with those changes that are not None."""
    fields = {name: hashable(section[name]) for name in SampleOptions._fields}
    fields["schedule_options"] = tuple(sorted(section.schedule_options.items()))
    options = SampleOptions(**fields)._replace(**{name: value for name, value in changes.items() if value is not None})
    if len(options.churn) != 3 or any(not isinstance(part, tuple) or len(part) != 4 for part in options.restarts):
        raise UsageError(
            f"config.sample.churn is {options.churn} and .restarts {options.restarts}; they are (S_churn, S_min, "
            "S_max) and a tuple of (steps, times, low, high)"
        )
    numbers = [options.guidance, options.latent_guidance, options.self_guidance, options.noise_scale, options.momentum]
    numbers += [options.td, options.lag, *(number for restart in options.restarts for number in restart)]
    if not all(map(math.isfinite, numbers)):
        raise UsageError(f"a number of config.sample is not finite: {options}")
    if any(int(number) != number for restart in options.restarts for number in restart[:2]):
        raise UsageError(f"config.sample.restarts is {options.restarts}; steps and times are whole numbers")
    return options


def evaluations(options: SampleOptions) -> int:
    """How often a sample asks the network, guidance aside: 2 N - 1 times in N of Heun's steps; 0 without steps."""
    if not options.steps:
        return 0
    gamma = schedules.make_schedule(options.schedule, dict(options.schedule_options))
    plan = plans.make_plan(
        gamma,
        options.steps,
        td=options.td,
        endpoint=options.endpoint,
        churn=options.churn,
        restarts=options.restarts,
    )
    return plans.evaluations(plan, sampling.RULES[options.sampler].correct is not None)


def hashable(value: Any) -> Any:
    """The value with tuples in the place of lists, however deep."""
    return tuple(map(hashable, value)) if isinstance(value, list | tuple) else value
