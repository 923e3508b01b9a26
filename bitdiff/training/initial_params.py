"""The parameters that training starts from: random, except for what the config takes from elsewhere."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from bitdiff.networks.vit_weights import load_weights
from bitdiff.tasks import Task
from bitdiff.training.first_stage import load_first_stage


def initial_params(config: Any, task: Task, key: jax.Array) -> Any:
    """Random parameters, except for published weights of an encoder and those of config.first_run.

    A prior's parameters include those of its first stage, and a confidence model's those of its docking run. In
    docking, the trunks of both start from the docking model's. A student's parameters start from its teacher's, and
    include them.

    Args:
      config: a resolved config.
      task: its task.
      key: PRNG key.

    Raises:
      UsageError: config.encoder.weights or config.first_run cannot be read, or does not fit.
    """
    params = jax.jit(task.init)(key)
    if config.encoder and config.encoder.weights and config.task != "distillation":
        params = _with_published_weights(config, params)
    if config.task == "prior":
        params = params | {"first": load_first_stage(config)}
        if config.prior.model == "pointers":
            trunk = jax.tree.map(jnp.copy, params["first"]["network"]["trunk"])
            params = params | {"prior": params["prior"] | {"trunk": trunk}}
    if config.task == "confidence":
        first = load_first_stage(config)
        docking = first["first"] if config.first.task == "prior" else first
        trunk = jax.tree.map(jnp.copy, docking["network"]["trunk"])
        params = {"confidence": params["confidence"] | {"trunk": trunk}, "first": first}
    if config.task == "distillation":
        teacher = load_first_stage(config)
        params = {"student": teacher, "teacher": jax.tree.map(jnp.copy, teacher)}
    return params


def _with_published_weights(config: Any, params: Any) -> Any:
    """The parameters with the published weights of the image encoder, which a prior keeps among its own."""
    own = params["prior"] if config.task == "prior" else params
    path = Path(config.encoder.weights).expanduser()
    published = load_weights(path, {"params": own["encoder"]}, config.encoder.head_dim)
    own = own | {"encoder": published["params"]}
    return params | {"prior": own} if config.task == "prior" else own
