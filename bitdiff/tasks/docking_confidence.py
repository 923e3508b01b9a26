"""A confidence model for docking, which ranks the poses that a docking run samples (DiffDock, Corso et al. 2023).

It is trained on poses that the run sampled for the training complexes (`bitdiff.distill`), to distinguish those with an
RMSD below 2 A from the others. It samples poses with the docking run's model, and adds to each the probability that its
RMSD is below 2 A.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax

from bitdiff.diffusion import poses
from bitdiff.diffusion.poses import Ranges
from bitdiff.networks import PoseConfidence, make_pose_confidence
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import docking_model
from bitdiff.tasks.combinations import check_confidence
from bitdiff.tasks.docking_prior import make_docking_prior_task
from bitdiff.tasks.docking_scores import CLOSE, evaluate
from bitdiff.tasks.options import SampleOptions
from bitdiff.tasks.task import Task


class Ranker(NamedTuple):
    """The model that samples poses, the network that ranks them, and the ranges of the sigmas."""

    first: Task
    network: PoseConfidence
    ranges: Ranges


def make_confidence_task(config: Any, network: nn.Module | None = None) -> Task:
    """The confidence model of config.first, the config of a docking model or of a prior over its pointers.

    Raises:
      UsageError: another network is passed, config.first does not describe docking, or config.network differs from
        the docking run's.
    """
    if network is not None:
        raise UsageError("a confidence model has a network of its own; no other can be passed")
    check_confidence(config)
    first = make_pose_task(config.first)
    docking = docking_config(config.first)
    if config.network != docking.network:
        raise UsageError(
            "config.network must equal that of the docking run, from whose weights a confidence model starts"
        )
    ranker = Ranker(first, make_pose_confidence(docking), docking_model.make_docking(docking).ranges)
    return first._replace(
        init=partial(init_params, ranker),
        loss=partial(loss, ranker),
        losses=None,
        sample=partial(sample, ranker),
        evaluate=evaluate,
        frozen=("first",),
        copied=("confidence/trunk",),
    )


def make_pose_task(config: Any) -> Task:
    """The task of the docking run whose samples a confidence model ranks.

    Raises:
      UsageError: the config is empty, or does not describe docking.
    """
    if config and config.task == "docking":
        return docking_model.make_docking_task(config)
    if config and config.task == "prior" and config.first.task == "docking":
        return make_docking_prior_task(config)
    found = f"config.first.task is {config.task!r}" if config else "config.first is empty"
    raise UsageError(f"{found}; a confidence model requires a docking run: pass its workdir as --config.first_run")


def docking_config(config: Any) -> Any:
    """The config of the docking model: that of a run of docking, or of a prior's first stage."""
    return config.first if config.task == "prior" else config


def init_params(ranker: Ranker, key: jax.Array) -> dict[str, Any]:
    """Parameters: {'confidence', 'first'}; training copies 'first' and the network's trunk from the docking run."""
    own_key, first_key = jax.random.split(key)
    graph, x = docking_model.blank_complex()
    own = ranker.network.init(own_key, graph, x, jnp.zeros(()))["params"]
    return {"confidence": own, "first": ranker.first.init(first_key)}


def loss(
    ranker: Ranker, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The binary cross-entropy, and the fraction of poses that are classified correctly as close or not."""
    del keys
    if "sampled" not in batch:
        raise UsageError(
            "a confidence model is trained on poses sampled for the training complexes: write them with "
            "bitdiff.distill, and pass the folder as --config.data.distilled"
        )
    logits = confidence(ranker, params, batch, batch["sampled"])
    close = batch["deviation"] < CLOSE
    cost = optax.sigmoid_binary_cross_entropy(logits, close.astype(jnp.float32))
    return jnp.mean(cost), {"accuracy": jnp.mean((logits > 0.0) == close)}


def confidence(ranker: Ranker, params: Any, arrays: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Logits [B] of the probability that the poses x [B, A, 3] are close to the true ones."""
    centers = docking_model.receptor_centers(arrays)
    graphs = docking_model.graph_of(arrays | {"positions": arrays["positions"] - centers})
    sigma = poses.sigmas(jnp.zeros(()), ranker.ranges).translation

    def one(graph, pose):
        return jnp.asarray(ranker.network.apply({"params": params["confidence"]}, graph, pose, sigma))

    return jax.vmap(one)(graphs, x - centers)


def sample(
    ranker: Ranker, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples poses from the docking run, with 'confidence' float32 [B] from 0 to 1: the task's `sample`."""
    outputs = ranker.first.sample(params["first"], arrays, keys, options)
    return outputs | {"confidence": nn.sigmoid(confidence(ranker, params, arrays, outputs["pose"]))}
