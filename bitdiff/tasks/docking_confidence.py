"""A confidence model of docking, which ranks the poses that a docking run samples (DiffDock, section 4.4).

It is trained on poses that the run sampled for the training complexes (`bitdiff.distill`), to tell those with an RMSD
below 2 A from the others. Its samples are the run's, each with the probability of being one of them.
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


class Ranked(NamedTuple):
    """The model that samples poses, the network that ranks them, and the ranges of the sigmas."""

    first: Task
    network: PoseConfidence
    ranges: Ranges


def make_confidence_task(config: Any, network: nn.Module | None = None) -> Task:
    """The confidence model of config.first, the config of a docking model or of a prior of its pointers.

    Raises:
      UsageError: another network is passed, config.first does not dock, or config.network differs from its network.
    """
    if network is not None:
        raise UsageError("a confidence model has a network of its own; no other can be passed")
    check_confidence(config)
    first = make_ranked(config.first)
    docking = docking_config(config.first)
    if config.network != docking.network:
        raise UsageError(
            "config.network must equal that of the docking run, from whose weights a confidence model starts"
        )
    ranked = Ranked(first, make_pose_confidence(docking), docking_model.make_docking(docking).ranges)
    return first._replace(
        init=partial(init_params, ranked),
        loss=partial(loss, ranked),
        losses=None,
        sample=partial(sample, ranked),
        evaluate=evaluate,
        frozen=("first",),
    )


def make_ranked(config: Any) -> Task:
    """The task of the docking run whose samples a confidence model ranks.

    Raises:
      UsageError: the config is empty, or does not describe docking.
    """
    if config and config.task == "docking":
        return docking_model.make_docking_task(config)
    if config and config.task == "prior" and config.first.task == "docking":
        return make_docking_prior_task(config)
    raise UsageError("a confidence model requires a docking run: pass its workdir as --config.first_run")


def docking_config(config: Any) -> Any:
    """The config of the docking model: that of a run of docking, or of a prior's first stage."""
    return config.first if config.task == "prior" else config


def init_params(ranked: Ranked, key: jax.Array) -> dict[str, Any]:
    """Parameters: {'confidence', 'first'}; training starts from the trained run, and its trunk in the confidence."""
    own_key, first_key = jax.random.split(key)
    graph, x = docking_model.blank_complex()
    own = ranked.network.init(own_key, graph, x, jnp.zeros(()))["params"]
    return {"confidence": own, "first": ranked.first.init(first_key)}


def loss(
    ranked: Ranked, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The cross-entropy, and the fraction of poses that are classified correctly."""
    del keys
    if "sampled" not in batch:
        raise UsageError(
            "a confidence model is trained on poses sampled for the training complexes: write them with "
            "bitdiff.distill, and pass the folder as --config.data.distilled"
        )
    logits = confidence(ranked, params, batch, batch["sampled"])
    close = batch["deviation"] < CLOSE
    cost = optax.sigmoid_binary_cross_entropy(logits, close.astype(jnp.float32))
    return jnp.mean(cost), {"accuracy": jnp.mean((logits > 0.0) == close)}


def confidence(ranked: Ranked, params: Any, arrays: dict[str, jax.Array], x: jax.Array) -> jax.Array:
    """Logits [B] of the probability that the poses x [B, A, 3] are close to the true ones."""
    centers = docking_model.receptor_centers(arrays)
    graphs = docking_model.graph_of(arrays | {"positions": arrays["positions"] - centers})
    sigma = poses.sigmas(jnp.zeros(()), ranked.ranges).translation

    def one(graph, x):
        return jnp.asarray(ranked.network.apply({"params": params["confidence"]}, graph, x, sigma))

    return jax.vmap(one)(graphs, x - centers)


def sample(
    ranked: Ranked, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples poses from the docking run, with 'confidence' float32 [B] from 0 to 1: the task's `sample`."""
    outputs = ranked.first.sample(params["first"], arrays, keys, options)
    return outputs | {"confidence": nn.sigmoid(confidence(ranked, params, arrays, outputs["pose"]))}
