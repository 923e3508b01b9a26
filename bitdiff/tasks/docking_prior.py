"""The second stage of docking with latents: a prior over pointers (Xu et al. 2024, DisCo-Diff, section 5.3).

The prior sees the complex with the ligand centered on the receptor, in a random orientation and with random torsion
angles, and generates the pointers one at a time. Its trunk starts from the first stage's weights, and is frozen for the
first config.optimizer.freeze_steps steps (five epochs in the paper).
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.data import Source
from bitdiff.diffusion import poses
from bitdiff.diffusion.poses import Move
from bitdiff.networks import PointerPrior, make_pointer_prior
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import docking_model
from bitdiff.tasks.combinations import check_pointer_prior
from bitdiff.tasks.docking_model import GIVEN, Docking
from bitdiff.tasks.docking_scores import evaluate
from bitdiff.tasks.options import SampleOptions
from bitdiff.tasks.task import Task


class Stages(NamedTuple):
    """The first stage, and the prior over its pointers."""

    first: Docking
    prior: PointerPrior


def make_docking_prior_task(config: Any, network: nn.Module | None = None) -> Task:
    """A prior over the pointers of config.first, a docking model, which samples poses given these pointers.

    Raises:
      UsageError: another network is passed, or config.network differs from the first stage's.
    """
    if network is not None:
        raise UsageError("a prior over pointers has a network of its own; no other can be passed")
    check_pointer_prior(config)
    if config.network != config.first.network:
        raise UsageError(
            "config.network must equal that of the first stage, from whose weights a prior over pointers starts"
        )
    stages = Stages(docking_model.make_docking(config.first), make_pointer_prior(config.first))
    return Task(
        field="pose",
        init=partial(init_params, stages),
        loss=partial(loss, stages),
        sample=partial(sample, stages),
        condition=partial(condition_on, stages),
        evaluate=evaluate,
        uses_examples=True,
        frozen=("first",),
        copied=("prior/trunk",),
    )


def init_params(stages: Stages, key: jax.Array) -> dict[str, Any]:
    """Parameters: {'prior', 'first'}; training copies both 'first' and the prior's trunk from the run."""
    prior_key, first_key = jax.random.split(key)
    graph, x = docking_model.blank_complex()
    pointers = jnp.zeros((stages.first.latents.count, 2 * len(x)))
    prior = stages.prior.init(prior_key, graph, x, jnp.ones(()), pointers)["params"]
    return {"prior": prior, "first": docking_model.init_params(stages.first, first_key)}


def loss(
    stages: Stages, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The cross-entropy of the pointers, summed over them, against the probabilities of the first stage's encoder."""
    centered = docking_model.centered(docking_model.with_conformer(batch))
    arrays = {name: centered[name] for name in GIVEN}
    return jnp.mean(jax.vmap(partial(_loss_of_one, stages, params))(arrays, keys)), {}


def _loss_of_one(stages: Stages, params: Any, arrays: dict[str, jax.Array], key: jax.Array) -> jax.Array:
    draw_key, place_key = jax.random.split(key)
    found = jax.lax.stop_gradient(docking_model.encode(stages.first, params["first"], arrays))
    z = jax.nn.one_hot(jax.random.categorical(draw_key, found), found.shape[1])
    x = place(stages, arrays, place_key)
    exist = jnp.concatenate([arrays["atoms"] > 0, arrays["residues"] > 0])
    total = jnp.zeros(())
    for i in range(len(z)):
        logits = _predict(stages, params, arrays, x, jnp.where(jnp.arange(len(z))[:, None] < i, z, 0.0))[i]
        log_p = jnp.where(exist, jax.nn.log_softmax(logits), 0.0)
        total -= jnp.sum(jax.nn.softmax(found[i]) * log_p)
    return total


def sample(
    stages: Stages, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples pointers from the prior, then poses from the first stage: the task's `sample`."""
    first_keys, prior_keys = jax.vmap(jax.random.split)(keys).T
    centered = docking_model.centered(arrays)
    pointers = jax.vmap(partial(_draw, stages, params))({name: centered[name] for name in GIVEN}, prior_keys)
    return docking_model.sample(stages.first, params["first"], arrays | {"latents": pointers}, first_keys, options)


def _draw(stages: Stages, params: Any, arrays: dict[str, jax.Array], key: jax.Array) -> jax.Array:
    """Pointers int32 [latents] of one complex, each given those before it."""
    place_key, *draw_keys = jax.random.split(key, stages.first.latents.count + 1)
    x = place(stages, arrays, place_key)
    nodes = len(arrays["atoms"]) + len(arrays["residues"])
    z = jnp.full(len(draw_keys), -1, jnp.int32)
    for i, draw_key in enumerate(draw_keys):
        logits = _predict(stages, params, arrays, x, jax.nn.one_hot(z, nodes))[i]
        z = z.at[i].set(jax.random.categorical(draw_key, logits))
    return z


def _predict(stages: Stages, params: Any, arrays: dict[str, jax.Array], x: jax.Array, pointers: jax.Array) -> jax.Array:
    sigma = poses.sigmas(jnp.ones(()), stages.first.ranges).translation
    graph = docking_model.graph_of(arrays)
    return jnp.asarray(stages.prior.apply({"params": params["prior"]}, graph, x, sigma, pointers))


def place(stages: Stages, arrays: dict[str, jax.Array], key: jax.Array) -> jax.Array:
    """The ligand's atoms [A, 3] centered at the origin, in a random orientation and with random torsion angles."""
    tree = docking_model.tree_of(arrays)
    middle = poses.center(arrays["conformer"], tree.atoms)
    centered = jnp.where(tree.atoms[:, None], arrays["conformer"] - middle, 0.0)
    move = poses.draw_prior(key, stages.first.ranges, tree)
    return poses.apply(centered, Move(jnp.zeros(3), move.rotation, move.torsion), tree)


def condition_on(
    stages: Stages, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """The complexes of the samples, in turn: the task's `condition`."""
    arrays = docking_model.condition_on(stages.first, indices, labels, examples)
    return {name: array for name, array in arrays.items() if name not in ("example", "latents")}
