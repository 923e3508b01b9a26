"""The second stage of DisCo-Diff: a prior over latents, followed by the first stage (Xu et al. 2024, section 3.3).

The latents are tokens, so the prior is one of the token models: autoregressive, as in the paper, or Bit Diffusion,
which samples all latents at once and can complete known ones. The first stage's weights are part of the parameters,
and training does not change them.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import ml_collections
import numpy as np

from bitdiff.data import Source
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks.autoregressive import make_autoregressive_task
from bitdiff.tasks.images import make_image_task
from bitdiff.tasks.options import SampleOptions, sample_options
from bitdiff.tasks.points import make_point_task
from bitdiff.tasks.task import Task
from bitdiff.tasks.tokens import make_token_task

PRIORS = {"autoregressive": make_autoregressive_task, "bits": make_token_task}
FIRST_STAGES = {"images": make_image_task, "tokens": make_token_task, "points": make_point_task}


class Stages(NamedTuple):
    """The two stages: the first, the prior of its latents, and how latents are sampled."""

    first: Task
    prior: Task
    prior_options: SampleOptions


def make_prior_task(config: Any, network: nn.Module | None = None) -> Task:
    """A prior over the latents of config.first, a first stage's config; its samples are the first stage's.

    A sample's latents come from the prior, with the options of config.prior.sample, and the first stage generates from
    them. The loss is the prior's, on latents inferred by the first stage's encoder.

    Raises:
      UsageError: a first stage without latents.
    """
    first = make_first_stage(config.first)
    prior = PRIORS[config.prior.model](_prior_config(config), network)
    stages = Stages(first, prior, sample_options(config.prior.sample))
    return Task(
        field=first.field,
        init=partial(init_params, stages),
        loss=partial(loss, stages),
        sample=partial(sample, stages),
        condition=partial(condition_on, stages),
        evaluate=first.evaluate,
        frozen=("first",),
    )


def make_first_stage(config: Any) -> Task:
    """The task of a first stage's config.

    Raises:
      UsageError: the config is empty, describes a model without latents, or one that a prior does not support.
    """
    if not config or not config.latents.count:
        raise UsageError("a prior requires a first stage with latents: pass its workdir as --config.first_run")
    if config.encoder:
        raise UsageError("a first stage that describes pictures is not supported: its prior would not see them")
    choose("first stage's task (config.first.task)", config.task, FIRST_STAGES)
    return FIRST_STAGES[config.task](config)


def init_params(stages: Stages, key: jax.Array) -> dict[str, Any]:
    """Parameters: {'prior', 'first'}; training replaces 'first' with the trained first stage."""
    prior_key, first_key = jax.random.split(key)
    return {"prior": stages.prior.init(prior_key), "first": stages.first.init(first_key)}


def loss(
    stages: Stages, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The prior's loss on latents that the first stage infers from the batch."""
    assert stages.first.infer is not None
    prior_keys, latent_keys = jax.vmap(jax.random.split)(keys).T
    frozen = jax.lax.stop_gradient(params["first"])
    tokens = stages.first.infer(frozen, batch[stages.first.field], latent_keys)
    return stages.prior.loss(params["prior"], {"tokens": tokens} | _only(batch, "label"), prior_keys)


def sample(
    stages: Stages, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples latents from the prior, then values from the first stage."""
    first_keys, prior_keys = jax.vmap(jax.random.split)(keys).T
    latents = stages.prior.sample(params["prior"], _only(arrays, "label", "known"), prior_keys, stages.prior_options)[
        "tokens"
    ]
    return stages.first.sample(params["first"], _only(arrays, "label") | {"latents": latents}, first_keys, options)


def condition_on(
    stages: Stages, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """What each sample is conditioned on: labels for both stages, and known latents for the prior.

    Raises:
      UsageError: examples without known latents were given: the prior generates the latents.
    """
    if examples is not None and "known" not in examples[0]:
        raise UsageError("examples were given, but the prior generates the latents")
    prior = stages.prior.condition(indices, labels, examples)
    if labels is None and "label" in prior:
        labels = tuple(prior["label"].tolist())
        indices = np.arange(len(labels))
    return stages.first.condition(indices, labels) | prior


def _only(arrays: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: arrays[name] for name in names if name in arrays}


def _prior_config(config: Any) -> ml_collections.ConfigDict:
    """The config of a token model of the latents: the second stage's own, over `count` tokens of `codes` values."""
    prior = ml_collections.ConfigDict(config.to_dict() | {"first": {}, "first_run": "", "encoder": {}})
    prior.task = "tokens" if config.prior.model == "bits" else "autoregressive"
    latents = config.first.latents
    prior.data.update(
        length=latents.count, vocab_size=latents.codes, num_classes=config.first.data.num_classes, eos=-1, pad=-1
    )
    prior.latents.count = 0
    return prior
