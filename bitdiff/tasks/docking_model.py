"""Docking: the pose of a ligand in a receptor (DiffDock, Corso et al. 2023; with latents, DisCo-Diff, section 5.3).

The pose's translation, rotation and torsion angles are diffused. Latents are pointers to the atoms of the ligand and
the residues of the receptor, inferred from the true pose.
"""

from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.conditions import Request, derive_keys
from bitdiff.conditions.latents import gumbel_softmax
from bitdiff.data import Source
from bitdiff.data.complexes import Ligand, Receptor, Sizes, padded, sizes_of
from bitdiff.data.dataset import Arrays
from bitdiff.diffusion import pose_sampling, poses
from bitdiff.diffusion.poses import Move, Ranges, Tree
from bitdiff.networks import make_pointer_encoder, make_pose_network
from bitdiff.networks.pose_network import ComplexGraph
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks.combinations import check_docking
from bitdiff.tasks.docking_scores import evaluate
from bitdiff.tasks.options import DIFFUSION_OPTIONS, SampleOptions, options_in_use, shown_steps
from bitdiff.tasks.task import Task

# Returned with the samples.
SHOWN = ("atoms", "elements", "charges", "bonds", "orders", "residues", "positions", "conformer")
KNOWN = "poses"  # also returned if the data include it: all true poses of a complex, [poses, A, 3]
GIVEN = ("atoms", "bonds", "residues", "positions", "conformer", "rotatable", "moved")  # what a complex consists of
_UNSUPPORTED = {name: value for name, value in DIFFUSION_OPTIONS.items() if name != "frames"}
_UNSUPPORTED |= {"guidance": 0.0, "image_guidance": 0.0, "beams": 1}


class Docking(NamedTuple):
    """The parts of a docking model.

    network: predicts the scores, divided by their norms.
    encoder: infers pointers; None without latents.
    ranges: the ranges of the sigmas.
    time: the parameters of the beta distribution of t in training.
    latents: the config's section.
    sizes: the largest sizes of complexes.
    """

    network: nn.Module
    encoder: nn.Module | None
    ranges: Ranges
    time: tuple[float, float]
    latents: Any
    sizes: Sizes


def make_docking(config: Any) -> Docking:
    """The model that a config with the task 'docking' describes.

    Raises:
      UsageError: a size is missing, or fields that the model would ignore are set.
    """
    check_docking(config)
    options = config.docking
    return Docking(
        make_pose_network(config),
        make_pointer_encoder(config) if config.latents.count else None,
        Ranges(*(tuple(options[part]) for part in Ranges._fields)),
        tuple(options.time),
        config.latents,
        sizes_of(config.data),
    )


def make_docking_task(config: Any, network: nn.Module | None = None) -> Task:
    """The task that a config with the task 'docking' describes.

    Raises:
      UsageError: as in `make_docking`, or a network is passed.
    """
    if network is not None:
        raise UsageError("docking has a network of its own; no other can be passed")
    model = make_docking(config)
    return Task(
        field="pose",
        init=partial(init_params, model),
        loss=partial(loss, model),
        losses=lambda params, batch, keys: losses(model, params, batch, keys)[:2],
        sample=partial(sample, model),
        condition=partial(condition_on, model),
        evaluate=evaluate,
        uses_examples=True,
    )


def init_params(model: Docking, key: jax.Array) -> dict[str, Any]:
    """Parameters: {'network'} and, with latents, {'encoder'}; they do not depend on the sizes of complexes."""
    network_key, encoder_key = jax.random.split(key)
    graph, x = blank_complex()
    zero = jnp.zeros(())
    torsions = (jnp.zeros((1, 2), jnp.int32), jnp.zeros((1, len(x)), bool))
    params = {"network": model.network.init(network_key, graph, x, zero, zero, torsions)["params"]}
    if model.encoder is not None:
        params["encoder"] = model.encoder.init(encoder_key, graph, x)["params"]
    return params


def blank_complex() -> tuple[ComplexGraph, jax.Array]:
    """A complex of two atoms and two residues, for initialization, and the atoms' positions."""
    types, x = jnp.ones(2, jnp.int32), jnp.zeros((2, 3))
    return ComplexGraph(types, jnp.zeros((1, 2), jnp.int32), types, x), x


def loss(
    model: Docking, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The mean loss, and the mean of each of its parts."""
    total, _, parts = losses(model, params, batch, keys)
    return jnp.mean(total), {name: jnp.mean(part) for name, part in parts._asdict().items()}


def losses(
    model: Docking, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, jax.Array, Move]:
    """The loss [N], the time [N], and the loss of each part of the pose [N].

    The loss is the sum, over translation, rotation and torsions, of the squared error of the score in units of its root
    mean square, so that predicting zero costs 1 on average for each part (0 for torsions of a rigid ligand).
    """
    derived = derive_keys(keys)
    batch = centered(with_conformer(batch))
    arrays = {name: batch[name] for name in GIVEN}
    pointers = jax.vmap(partial(_observe, model, params))(arrays, derived.latents)
    parts, t = jax.vmap(partial(_denoise, model, params))(arrays, pointers, derived.diffusion)
    return parts.translation + parts.rotation + parts.torsion, t, parts


def _observe(model: Docking, params: Any, arrays: dict[str, jax.Array], key: jax.Array) -> jax.Array | None:
    """Sampled pointers [latents, nodes] of a complex in its true pose, or zeros if dropped; None without latents."""
    if model.encoder is None:
        return None
    gumbel_key, drop_key = jax.random.split(key)
    logits = encode(model, params, arrays)
    hard = model.latents.straight_through
    z = gumbel_softmax(logits[None], gumbel_key[None], model.latents.temperature, hard=hard)[0]
    return jnp.where(jax.random.bernoulli(drop_key, model.latents.dropout), 0.0, z)


def encode(model: Docking, params: Any, arrays: dict[str, jax.Array]) -> jax.Array:
    """Logits of the pointers [latents, nodes] of a complex whose conformer is the true pose."""
    assert model.encoder is not None
    return jnp.asarray(model.encoder.apply({"params": params["encoder"]}, graph_of(arrays), arrays["conformer"]))


def _denoise(
    model: Docking, params: Any, arrays: dict[str, jax.Array], pointers: jax.Array | None, key: jax.Array
) -> tuple[Move, jax.Array]:
    """The loss of each part of the pose, and the time, of one complex."""
    time_key, noise_key = jax.random.split(key)
    tree = tree_of(arrays)
    t = jax.random.beta(time_key, *model.time)
    sigma = poses.sigmas(t, model.ranges)
    noise = poses.draw_noise(noise_key, sigma, tree)
    x_t = poses.apply(arrays["conformer"], noise, tree)
    norm = poses.score_norm(sigma)
    aim = jax.tree.map(lambda part, size: part / size, poses.score(noise, sigma, tree), norm)
    error = jax.tree.map(lambda one, other: (one - other) ** 2, predict(model, params, arrays, x_t, t, pointers), aim)
    twists = jnp.maximum(jnp.sum(tree.torsions), 1)
    torsion = jnp.sum(jnp.where(tree.torsions, error.torsion, 0.0)) / twists
    return Move(jnp.mean(error.translation), jnp.sum(error.rotation), torsion), t


def predict(
    model: Docking, params: Any, arrays: dict[str, jax.Array], x: jax.Array, t: jax.Array, pointers: jax.Array | None
) -> Move:
    """The network's scores of one complex, divided by their norms, with the ligand at x [A, 3]."""
    sigma = poses.sigmas(t, model.ranges).translation
    torsions = (arrays["rotatable"], arrays["moved"])
    found: Any = model.network.apply({"params": params["network"]}, graph_of(arrays), x, t, sigma, torsions, pointers)
    return Move(*found)


def sample(
    model: Docking, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Samples a pose for each complex of `condition_on`: the task's `sample`.

    Raises:
      UsageError: an option that the model does not support.
    """
    _check_options(model, options)
    derived = derive_keys(keys)
    centers, given = receptor_centers(arrays), centered(arrays)
    pointers = _receive(model, params, given, derived.latents)
    run = partial(_sample_one, model, params, options)
    x, trajectory = jax.vmap(run)({name: given[name] for name in GIVEN}, pointers, derived.diffusion)
    exist = (arrays["atoms"] > 0)[..., None]
    outputs = {"pose": jnp.where(exist, x + centers, 0.0), "source": arrays["source"]}
    outputs["invalid"] = jnp.mean(~jnp.isfinite(outputs["pose"]), axis=(1, 2), dtype=jnp.float32)
    outputs |= {name: arrays[name] for name in (*SHOWN, KNOWN) if name in arrays}
    if pointers is not None:
        outputs["latents"] = pointers
    if options.frames:
        shown = shown_steps(options.steps, options.frames)
        outputs["trajectory"] = jnp.where(exist[:, None], trajectory[:, shown] + centers[:, None], 0.0)
    return outputs


def _receive(model: Docking, params: Any, arrays: dict[str, jax.Array], keys: jax.Array) -> jax.Array | None:
    """Pointers int32 [B, latents], inferred from the true pose or given; -1 if there are none."""
    if model.encoder is None:
        return None
    if "example" in arrays:
        logits = jax.vmap(partial(encode, model, params))(arrays | {"conformer": arrays["example"]})
        return jax.vmap(jax.random.categorical)(keys, logits).astype(jnp.int32)
    return arrays.get("latents", jnp.full((len(keys), model.latents.count), -1, jnp.int32))


def _sample_one(
    model: Docking,
    params: Any,
    options: SampleOptions,
    arrays: dict[str, jax.Array],
    pointers: jax.Array | None,
    key: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """A pose [A, 3] and the poses before every step [steps, A, 3] of one complex."""
    nodes = arrays["atoms"].shape[0] + arrays["residues"].shape[0]
    z = None if pointers is None else jax.nn.one_hot(pointers, nodes)  # zeros for -1

    def score(x, t):
        found = predict(model, params, arrays, x, t, z)
        if options.latent_guidance:
            null = predict(model, params, arrays, x, t, None)
            weight = options.latent_guidance
            found = jax.tree.map(lambda one, other: one + weight * (one - other), found, null)
        norm = poses.score_norm(poses.sigmas(t, model.ranges))
        return jax.tree.map(jnp.multiply, found, norm)

    return pose_sampling.follow(
        score,
        key,
        arrays["conformer"],
        tree_of(arrays),
        model.ranges,
        steps=options.steps,
        sampler=options.sampler,
        temperature=options.temperature,
    )


def condition_on(
    model: Docking, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """Assigns the examples' complexes to samples in turn: the task's `condition`; without examples, empty ones.

    Latents are inferred from the conformers of the examples, unless they have 'latents'.

    Raises:
      UsageError: labels are given, or the examples are not complexes.
    """
    if labels is not None:
        raise UsageError("labels were given, but docking has no classes")
    request = Request(np.asarray(indices), None, Arrays(blank_examples(model.sizes)) if examples is None else examples)
    missing = [name for name in dict.fromkeys((*SHOWN, *GIVEN)) if name != "conformer" and not request.offers(name)]
    if missing or not (request.offers("conformer") or request.offers("pose")):
        raise UsageError(
            "docking requires examples that are complexes, as in bitdiff.data.complexes.padded; they have no "
            f"{', '.join(map(repr, missing or ['pose']))}"
        )
    rows = [with_conformer(row) for row in request.rows]
    names = {*GIVEN, *SHOWN, *({KNOWN} & rows[0].keys())}
    arrays = {name: np.stack([row[name] for row in rows]) for name in names}
    if model.encoder is not None:
        if "latents" in rows[0]:
            arrays["latents"] = np.stack([row["latents"] for row in rows])
        else:
            arrays["example"] = arrays["conformer"]
    return arrays | {"source": request.source}


def with_conformer(arrays: dict[str, Any]) -> dict[str, Any]:
    """The arrays with 'conformer', the ligand that noise is added to; a copy of 'pose' unless the data have one."""
    return {"conformer": arrays["pose"]} | arrays


def blank_examples(sizes: Sizes) -> dict[str, np.ndarray]:
    """One empty complex: arrays [1, ...]."""
    nothing = np.zeros(0, int)
    rigid = (np.zeros((0, 2), int), np.zeros((0, 0), bool))
    ligand = Ligand(*3 * (nothing,), np.zeros((0, 2), int), nothing, np.zeros((0, 3)), *rigid)
    one = padded(ligand, Receptor(nothing, np.zeros((0, 3))), sizes)
    return {name: array[None] for name, array in one.items()}


def graph_of(arrays: dict[str, jax.Array]) -> ComplexGraph:
    """The graph of one complex."""
    return ComplexGraph(arrays["atoms"], arrays["bonds"], arrays["residues"], arrays["positions"])


def tree_of(arrays: dict[str, jax.Array]) -> Tree:
    """The rotatable bonds of one complex; (0, 0) is padding."""
    bonds = arrays["rotatable"]
    return Tree(arrays["atoms"] > 0, bonds, arrays["moved"], bonds[:, 0] != bonds[:, 1])


def receptor_centers(arrays: dict[str, jax.Array]) -> jax.Array:
    """The mean positions of the residues: float [B, 1, 3]."""
    exist = (arrays["residues"] > 0)[..., None]
    total = jnp.sum(jnp.where(exist, arrays["positions"], 0.0), axis=1, keepdims=True)
    return total / jnp.maximum(jnp.sum(exist, axis=1, keepdims=True), 1)


def centered(arrays: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The arrays with all positions relative to the receptor's center."""
    centers = receptor_centers(arrays)
    moved = {name: arrays[name] - centers for name in ("positions", "conformer", "example") if name in arrays}
    return arrays | moved


def _check_options(model: Docking, options: SampleOptions) -> None:
    choose("sampler of docking (config.sample.sampler, --sampler)", options.sampler, poses.SAMPLERS)
    given = options_in_use(options, _UNSUPPORTED)
    if given:
        raise UsageError(f"docking does not support {', '.join(given)}")
    if options.steps < 1:
        raise UsageError(f"steps is {options.steps}; docking requires at least 1 step")
    if options.latent_guidance and (model.encoder is None or not model.latents.dropout):
        raise UsageError(
            f"latent_guidance is {options.latent_guidance}; it requires a model with latents, trained with "
            "config.latents.dropout above 0"
        )
