"""The second stage of DisCo-Diff: a model of the latents, and what they tell the first stage (Xu et al. 2024, 3.3).

The latents are tokens, so the prior is one of the token models there are: autoregressive, as in the paper, or Bit
Diffusion, which draws all at once and fills in those that are left open. The first stage's weights go along, unchanged.
"""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bitdiff import workdir
from bitdiff.checkpoints import Checkpoints
from bitdiff.errors import UsageError, choose
from bitdiff.state import init_state, make_optimizer
from bitdiff.tasks.autoregressive import make_autoregressive_task
from bitdiff.tasks.images import make_image_task
from bitdiff.tasks.points import make_point_task
from bitdiff.tasks.task import Task, sample_options
from bitdiff.tasks.tokens import make_token_task

PRIORS = {"autoregressive": make_autoregressive_task, "bits": make_token_task}
FIRST = {"images": make_image_task, "tokens": make_token_task, "points": make_point_task}


# What the data of both stages must share; where they lie may change.
_DATA = ("name", "builder", "image_size", "channels", "length", "vocab_size", "tokenizer_hash", "resize", "num_classes")


def make_prior_task(config: Any) -> Task:
    """A model of the latents of config.first, a first stage's config; its samples are the first stage's.

    A sample's latents come from the prior (config.prior.sample says how), then the first stage generates from them
    (as the options say). Loss: of the prior, on latents drawn from the first stage's encoder.

    Raises:
      UsageError: an unknown name, or a first stage without latents.
    """
    choose("prior (config.prior.model)", config.prior.model, PRIORS)
    first_config = config.first
    if not first_config or not first_config.latents.count:
        raise UsageError("a prior needs a first stage with latents: give its workdir as --config.first_run")
    if first_config.encoder:
        raise UsageError("a prior of the latents of captions would have to see the pictures, which it does not")
    choose("first stage's task (config.first.task)", first_config.task, FIRST)
    first = FIRST[first_config.task](first_config)
    count, codes = first_config.latents.count, first_config.latents.codes
    num_classes = first_config.data.num_classes
    inner = PRIORS[config.prior.model](_inner_config(config, count, codes, num_classes))
    inner_options = sample_options(config.prior.sample)

    def init(key):
        keys = jax.random.split(key)
        return {"prior": inner.init(keys[0]), "first": first.init(keys[1])}

    def start(params):
        if not config.first_run:
            raise UsageError("a prior's training needs the workdir of its first stage: --config.first_run=DIR")
        return params | {"first": load_first(Path(config.first_run), first_config, first)}

    def loss(params, batch, keys):
        inner_keys, latent_keys = jax.vmap(jax.random.split)(keys).T
        frozen = jax.lax.stop_gradient(params["first"])
        tokens = first.infer(frozen, batch[first.field], latent_keys)
        return inner.loss(params["prior"], {"tokens": tokens} | _labels(batch), inner_keys)

    def sample(params, condition, keys, how):
        first_keys, inner_keys = jax.vmap(jax.random.split)(keys).T
        told = _labels(condition)
        drawn = inner.sample(
            params["prior"],
            told | {name: condition[name] for name in ("known",) if name in condition},
            inner_keys,
            inner_options,
        )
        return first.sample(params["first"], told | {"latents": drawn["tokens"]}, first_keys, how)

    def condition(indices, labels, images=None):
        told = first.condition(indices, labels) | inner.condition(indices, labels)
        if images is None:
            return told
        if "known" not in images[0]:
            raise UsageError("examples were given, but the prior generates the latents")
        known = np.stack([images[int(i) % len(images)]["known"] for i in indices])
        if known.shape[1:] != (count,) or known.min() < -1 or known.max() >= codes:
            raise UsageError(
                f"latents {list(known.shape[1:])} from {known.min()} to {known.max()}; they must be "
                f"[{count}], below {codes}, -1 where they are open"
            )
        return told | {"known": known.astype(np.int32)}

    return Task(
        field=first.field,
        init=init,
        loss=loss,
        sample=sample,
        condition=condition,
        evaluate=first.evaluate,
        start=start,
        frozen=("first",),
    )


def complete(config: ml_collections.ConfigDict, folder: Path) -> ml_collections.ConfigDict:
    """A copy of the config with the first stage's config as it was trained.

    Args:
      config: of any task; only a prior has a first stage.
      folder: the workdir; a run that goes on there has its first stage already.

    Raises:
      UsageError: there is no run in config.first_run, or it has no latents, or other data.
    """
    config = config.copy_and_resolve_references()
    if config.task != "prior":
        return config
    if not config.first_run:
        if workdir.has_checkpoints(folder):
            with config.unlocked():
                config.first = workdir.load_config(folder).first
        return config
    folder = Path(config.first_run).expanduser().resolve()
    try:
        first = workdir.load_config(folder)
        if first.task not in FIRST or not first.latents.count:
            raise UsageError("it holds a run without latents; give one of DisCo-Diff's first stage")
        for name in _DATA:
            if first.data[name] != config.data[name]:
                raise UsageError(
                    f"it was trained with data.{name} {first.data[name]!r}, and config.data.{name} is "
                    f"{config.data[name]!r}"
                )
        FIRST[first.task](first)
    except UsageError as error:
        raise UsageError(f"config.first_run, {folder}: {error}") from error
    except (AttributeError, KeyError) as error:
        raise UsageError(
            f"config.first_run: the config of {folder} is of another version of bitdiff: "
            f"{' '.join(str(error).split())}; train it again"
        ) from error
    config.first_run = str(folder)
    with config.unlocked():
        config.first = first
    return config


def load_first(folder: Path, config: Any, task: Task) -> Any:
    """The moving average of a first stage's weights, from its latest checkpoint.

    Raises:
      UsageError: there is none, or it does not fit the config.
    """
    optimizer = make_optimizer(config.optimizer, config.train.steps)
    abstract = jax.eval_shape(lambda: init_state(task.init(jax.random.key(0)), optimizer))
    with Checkpoints(folder, read_only=True) as checkpoints:
        restored = checkpoints.restore(abstract)
    if restored is None:
        raise UsageError(f"config.first_run: {folder} holds no finished checkpoint yet")
    return jax.tree.map(jnp.asarray, jax.tree.map(np.asarray, restored.state.ema_params))


def _labels(arrays: dict[str, Any]) -> dict[str, Any]:
    return {name: arrays[name] for name in ("label",) if name in arrays}


def _inner_config(config: Any, count: int, codes: int, num_classes: int) -> ml_collections.ConfigDict:
    """The config of a token model of the latents: the second stage's own, over `count` tokens of `codes` values."""
    inner = ml_collections.ConfigDict(config.to_dict() | {"first": {}, "first_run": "", "encoder": {}})
    inner.task = "tokens" if config.prior.model == "bits" else "autoregressive"
    inner.data.update(length=count, vocab_size=codes, num_classes=num_classes, eos=-1, pad=-1)
    inner.latents.count = 0
    return inner
