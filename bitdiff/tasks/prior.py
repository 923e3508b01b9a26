"""The second stage of DisCo-Diff: a prior over latents, followed by the first stage (Xu et al. 2024, section 3.3).

The latents are tokens, so the prior is one of the token models: autoregressive, as in the paper, or Bit Diffusion,
which samples all latents at once and can complete known ones. If the first stage describes pictures, the prior sees
them too, through an encoder of its own. The first stage's weights are part of the parameters, and training does not
change them.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import ml_collections
import numpy as np

from bitdiff.configuration import base_config
from bitdiff.data import Source
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks.autoregressive import make_autoregressive_task
from bitdiff.tasks.docking_model import make_docking_task
from bitdiff.tasks.docking_prior import make_docking_prior_task
from bitdiff.tasks.images import make_image_task
from bitdiff.tasks.options import SampleOptions, sample_options
from bitdiff.tasks.points import make_point_task
from bitdiff.tasks.task import Task
from bitdiff.tasks.tokens import make_token_task

PRIORS = {"autoregressive": make_autoregressive_task, "bits": make_token_task}
FIRST_STAGES = {
    "images": make_image_task,
    "tokens": make_token_task,
    "points": make_point_task,
    "docking": make_docking_task,
}


class Stages(NamedTuple):
    """The two stages: the first, the prior of its latents, how latents are sampled, and whether pictures are given."""

    first: Task
    prior: Task
    prior_options: SampleOptions
    describes: bool


def make_prior_task(config: Any, network: nn.Module | None = None) -> Task:
    """A prior over the latents of config.first, a first stage's config; its samples are the first stage's.

    A sample's latents come from the prior, with the options of config.prior.sample, and the first stage generates from
    them. The loss is the prior's, on latents inferred by the first stage's encoder.

    Raises:
      UsageError: a first stage without latents, or only one of the stages sees pictures to describe.
    """
    first = make_first_stage(config.first)
    docks = config.first.task == "docking"
    if docks != (config.prior.model == "pointers"):
        raise UsageError(
            f"config.prior.model is {config.prior.model!r}; a first stage with the task {config.first.task!r} requires "
            f"{'pointers' if docks else 'autoregressive or bits'}"
        )
    if docks:
        return make_docking_prior_task(config, network)
    describes = bool(config.first.encoder)
    if describes != bool(config.encoder):
        raise UsageError(
            f"config.encoder is {'set' if config.encoder else 'empty'}, but that of the first stage is "
            f"{'set' if describes else 'empty'}: both stages must see the pictures to describe, or neither"
        )
    prior = PRIORS[config.prior.model](_prior_config(config), network)
    stages = Stages(first, prior, sample_options(config.prior.sample), describes)
    return Task(
        field=first.field,
        init=partial(init_params, stages),
        loss=partial(loss, stages),
        sample=partial(sample, stages),
        condition=partial(condition_on, stages),
        evaluate=first.evaluate,
        uses_examples=describes,
        frozen=("first",),
    )


def make_first_stage(config: Any) -> Task:
    """The task of a first stage's config.

    Raises:
      UsageError: the config is empty, describes a model without latents, or one that a prior does not support.
    """
    if not config or not config.latents.count:
        raise UsageError("a prior requires a first stage with latents: pass its workdir as --config.first_run")
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
    prior_keys, latent_keys = jax.vmap(jax.random.split)(keys).T
    frozen = jax.lax.stop_gradient(params["first"])
    tokens = infer(stages, frozen, batch[stages.first.field], latent_keys)
    return stages.prior.loss(params["prior"], {"tokens": tokens} | _only(batch, "label", "image"), prior_keys)


def infer(stages: Stages, params: Any, values: jax.Array, keys: jax.Array) -> jax.Array:
    """Latents int32 [B, latents] that the first stage infers from values [B, ...], with a key for each example.

    If it describes pictures, the values are tokens [B, captions, L], and the latents [B, captions, latents].
    """
    assert stages.first.infer is not None
    if not stages.describes:
        return stages.first.infer(params, values, keys)
    rows, captions = values.shape[:2]
    keys = jax.vmap(lambda key: jax.random.split(key, captions))(keys).reshape(-1)
    return stages.first.infer(params, values.reshape(rows * captions, -1), keys).reshape(rows, captions, -1)


def sample(
    stages: Stages, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples latents from the prior, then values from the first stage."""
    first_keys, prior_keys = jax.vmap(jax.random.split)(keys).T
    latents = stages.prior.sample(params["prior"], arrays, prior_keys, stages.prior_options)["tokens"]
    given = _only(arrays, "label", "image", "source")
    return stages.first.sample(params["first"], given | {"latents": latents}, first_keys, options)


def condition_on(
    stages: Stages, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """What each sample is conditioned on: labels and pictures for both stages, and known latents for the prior.

    Raises:
      UsageError: examples with neither known latents nor pictures to describe: the prior generates the latents.
    """
    if examples is not None and "known" not in examples[0] and not stages.describes:
        raise UsageError("examples were given, but the prior generates the latents")
    prior = stages.prior.condition(indices, labels, examples)
    if labels is None and "label" in prior:
        labels = tuple(prior["label"].tolist())
        indices = np.arange(len(labels))
    given = stages.first.condition(indices, labels, examples if stages.describes else None)
    return {name: array for name, array in given.items() if name != "example"} | prior


def _only(arrays: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: arrays[name] for name in names if name in arrays}


def _prior_config(config: Any) -> ml_collections.ConfigDict:
    """The config of a token model of the latents: the second stage's own, over `count` tokens of `codes` values."""
    prior = ml_collections.ConfigDict(config.to_dict() | {"first": {}, "first_run": ""})
    prior.task = "tokens" if config.prior.model == "bits" else "autoregressive"
    latents = config.first.latents
    prior.data.update(
        length=latents.count, vocab_size=latents.codes, num_classes=config.first.data.num_classes, eos=-1, pad=-1
    )
    prior.latents = base_config().latents  # it has none
    return prior
