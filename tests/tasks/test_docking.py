"""Tests of docking: its loss, its sampler, what samples are conditioned on, and its scores."""

import jax
import jax.numpy as jnp
import matplotlib.colors
import numpy as np
import optax
import pytest
from PIL import Image

from bitdiff.configs import docking as docking_config
from bitdiff.configuration import base_config, load_config, sections
from bitdiff.data import Dataset, pockets
from bitdiff.data.dataset import Arrays, stack
from bitdiff.diffusion.poses import Move
from bitdiff.figures.pose_pictures import write_poses
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import combinations, docking_model, docking_scores, make_task, sample_options


def small_config(variant="disco", **changes):
    config = load_config(f"docking:{variant}")
    config.network.update(scalars=8, vectors=3, layers=1)
    if variant == "disco":
        config.latents.encoder.update(scalars=8, vectors=3, layers=1)
    config.update_from_flattened_dict(changes)
    return config


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def gradient_of(task):
    return jax.jit(jax.grad(lambda params, batch: task.loss(params, batch, keys(12))[0]))


def draw(task, params, condition, options):
    return jax.jit(task.sample, static_argnums=3)(params, condition, keys(len(condition["source"])), options)


def test_predicting_zero_costs_one_for_each_part_of_the_pose(complexes, monkeypatch):
    def zero(model, params, arrays, x, t, pointers):
        return Move(jnp.zeros(3), jnp.zeros(3), jnp.zeros(0))

    monkeypatch.setattr(docking_model, "predict", zero)
    task = make_task(small_config("plain"))
    batch = {name: np.resize(array, (600, *array.shape[1:])) for name, array in stack(complexes.train).items()}
    total, parts = jax.jit(task.loss)({}, batch, keys(600))
    # The standard error of 600 squares of a score is about 0.06.
    assert float(parts["translation"]) == pytest.approx(1, abs=0.2)
    assert float(parts["rotation"]) == pytest.approx(1, abs=0.2)
    assert float(total) == pytest.approx(float(parts["translation"] + parts["rotation"]), rel=1e-5)
    assert task.losses is not None
    _, t = jax.jit(task.losses)({}, batch, keys(600))
    assert float(t.mean()) == pytest.approx(2 / 3, abs=0.03)  # the mean of Beta(2, 1)


@pytest.mark.slow
def test_the_encoder_is_trained_through_the_pointers(complexes):
    task = make_task(small_config())
    params, batch = task.init(jax.random.key(0)), stack(complexes.train)
    gradient = gradient_of(task)(params, batch)
    assert max(float(jnp.abs(part).max()) for part in jax.tree.leaves(gradient["encoder"])) > 0
    always = make_task(small_config(**{"latents.dropout": 0.999999}))
    gradient = gradient_of(always)(params, batch)
    assert max(float(jnp.abs(part).max()) for part in jax.tree.leaves(gradient["encoder"])) == 0


@pytest.mark.slow
def test_the_loss_does_not_depend_on_where_the_complex_is(complexes):
    task = make_task(small_config())
    params, batch = task.init(jax.random.key(0)), stack(complexes.train)
    moved = batch | {name: batch[name] + np.float32([30, -20, 10]) for name in ("pose", "positions")}
    loss = jax.jit(task.loss)
    first, second = (float(loss(params, arrays, keys(12))[0]) for arrays in (batch, moved))
    assert second == pytest.approx(first, rel=1e-3)


@pytest.mark.slow
def test_all_parts_of_the_score_are_learned(complexes):
    config = small_config("plain", **{"network.vectors": 4})
    task = make_task(config)
    params, optimizer = task.init(jax.random.key(0)), optax.adam(optax.cosine_decay_schedule(1e-2, 120))
    batch = {name: np.repeat(array[:1], 8, axis=0) for name, array in stack(complexes.train).items()}

    @jax.jit
    def step(params, state, i):
        (_, parts), grads = jax.value_and_grad(task.loss, has_aux=True)(params, batch, keys(8, seed=i))
        updates, state = optimizer.update(grads, state)
        return optax.apply_updates(params, updates), state, parts

    state, losses = optimizer.init(params), []
    for i in range(120):
        params, state, parts = step(params, state, i)
        losses.append([float(parts[name]) for name in ("translation", "rotation")])
    translation, rotation = np.mean(losses[-40:], axis=0)
    assert translation < 0.5  # predicting zero costs 1 for each part
    assert rotation < 0.9, (translation, rotation)


@pytest.mark.parametrize("sampler", ["sde", "ode"])
def test_poses_keep_the_shape_of_the_ligand(complexes, sampler):
    config = small_config()
    task = make_task(config)
    params, options = task.init(jax.random.key(0)), sample_options(config.sample, sampler=sampler, steps=3, frames=2)
    condition = task.condition(np.arange(14), None, complexes.test)
    np.testing.assert_array_equal(condition["source"], [*range(12), 0, 1])
    outputs = draw(task, params, condition, options)
    assert outputs["trajectory"].shape == (14, 2, pockets.ATOMS[1], 3)
    assert outputs["latents"].shape == (14, 2)
    rows = stack(complexes.test)
    np.testing.assert_array_equal(outputs["poses"], np.resize(rows["poses"], outputs["poses"].shape))
    for i, pose in enumerate(np.asarray(outputs["pose"])):
        exist = rows["atoms"][i % 12] > 0
        np.testing.assert_array_equal(pose[~exist], 0)
        distances = [np.linalg.norm(x[exist][:, None] - x[exist][None], axis=-1) for x in (pose, rows["pose"][i % 12])]
        np.testing.assert_allclose(distances[0], distances[1], atol=1e-3)
    nodes = np.concatenate([rows["atoms"], rows["residues"]], axis=1)
    for pointers, exist in zip(np.asarray(outputs["latents"]), np.resize(nodes > 0, (14, nodes.shape[1])), strict=True):
        assert exist[pointers].all()


def test_pictures_show_the_pose_in_the_data_and_the_other_true_pose(complexes, tmp_path):
    rows = {name: array[:3] for name, array in stack(complexes.test).items()}
    outputs = rows | {"conformer": rows["pose"], "pose": rows["pose"] + 30.0}
    counts = []
    for shown in (outputs, {name: array for name, array in outputs.items() if name != "poses"}):
        write_poses(tmp_path / "poses.png", shown)
        pixels = np.asarray(Image.open(tmp_path / "poses.png").convert("RGB")).reshape(-1, 3)
        colors = [np.rint(255 * np.array(matplotlib.colors.to_rgb(name))) for name in ("palegreen", "moccasin")]
        counts.append([int(np.all(pixels == color, axis=1).sum()) for color in colors])
    assert counts[0][0] > 100
    assert counts[0][1] > 100
    assert counts[1][0] > 100
    assert counts[1][1] == 0


def test_given_pointers_are_used(complexes):
    config = small_config()
    task = make_task(config)
    params, options = task.init(jax.random.key(0)), sample_options(config.sample, steps=2)
    given = Arrays(stack(complexes.test) | {"latents": np.tile(np.int32([20, 30]), (12, 1))})
    condition = task.condition(np.arange(12), None, given)
    outputs = draw(task, params, condition, options)
    np.testing.assert_array_equal(outputs["latents"], np.tile([20, 30], (12, 1)))
    guided = draw(task, params, condition, options._replace(latent_guidance=2.0))
    assert np.abs(outputs["pose"] - guided["pose"]).max() > 1e-3


def test_the_temperature_of_the_options_is_used(complexes):
    config = small_config("plain")
    task = make_task(config)
    params, options = task.init(jax.random.key(0)), sample_options(config.sample, steps=2)
    assert options.temperature < 1
    condition = task.condition(np.arange(12), None, complexes.test)
    cold, warm = (draw(task, params, condition, options._replace(temperature=value)) for value in (1.0, 3.0))
    assert np.abs(cold["pose"] - warm["pose"]).max() > 1e-3


def test_scores_of_true_and_of_wrong_poses(complexes):
    truth = stack(complexes.test)
    source = np.repeat(np.arange(12), 5).astype(np.int32)
    outputs = {"pose": truth["pose"][source], "source": source}
    scores = {name: score.value for name, score in docking_scores.evaluate(outputs, complexes, None).items()}
    for name in ("rmsd_below_2", "rmsd_below_5", "centroid_below_2", "best_of_5", "known_below_2"):
        assert scores[name] == 1
    assert scores["rmsd_median"] == pytest.approx(0, abs=1e-5)
    assert scores["pocket_tv"] == pytest.approx(abs(np.mean(truth["pocket"] == 0) - 0.7))
    assert scores["pocket_tv_floor"] == pytest.approx(np.sqrt(2 * 0.21 / (np.pi * 60)))
    # All poses of a complex are in one pocket, so that the deviation per complex is 0.3 or 0.7.
    assert scores["pocket_tv_each"] == pytest.approx(np.where(truth["pocket"] == 0, 0.3, 0.7).mean())
    rng = np.random.default_rng(0)
    drawn = np.abs(rng.binomial(5, 0.7, 20_000) / 5 - 0.7).mean()
    assert scores["pocket_tv_each_floor"] == pytest.approx(drawn, abs=0.005)

    other = {"pose": truth["poses"][source, 1 - truth["pocket"][source]], "source": source}
    scores = {name: score.value for name, score in docking_scores.evaluate(other, complexes, None).items()}
    assert scores["rmsd_below_2"] == 0  # the other pocket is at least 16 A away
    assert scores["known_below_2"] == 1

    pose = truth["pose"][source].copy()
    pose[::2, 0, 0], pose[::4, 0, 0] = np.nan, np.inf  # half of the poses
    scores = {
        name: score.value
        for name, score in docking_scores.evaluate({"pose": pose, "source": source}, complexes, None).items()
    }
    assert scores["rmsd_below_2"] == scores["known_below_2"] == 0.5
    strong = np.mean(np.isfinite(pose[:, 0, 0]) & (truth["pocket"][source] == 0))
    assert scores["pocket_tv"] == pytest.approx(0.5 * (0.5 + abs(strong - 0.7) + abs(0.5 - strong - 0.3)))

    far = {"pose": truth["pose"][source] + np.float32([3, 0, 0]), "source": source}
    scores = {name: score.value for name, score in docking_scores.evaluate(far, complexes, None).items()}
    assert scores["rmsd_below_2"] == scores["centroid_below_2"] == 0
    assert scores["rmsd_below_5"] == 1
    assert scores["rmsd_median"] == pytest.approx(3, rel=0.01)


def test_agreement_of_pointers_with_the_pocket(complexes):
    truth = stack(complexes.test)
    exist = (truth["atoms"] > 0)[:, None, :, None]
    centers = (truth["poses"] * exist).sum(2) / exist.sum(2)
    distance = np.linalg.norm(centers[:, :, None] - truth["positions"][:, None], axis=-1)
    distance = np.where(truth["residues"][:, None] > 0, distance, np.inf)
    own = distance[np.arange(12), truth["pocket"]].argmin(axis=1)
    atoms = pockets.ATOMS[1]
    outputs = {"pose": truth["pose"], "source": np.arange(12, dtype=np.int32)}
    right = outputs | {"latents": np.stack([own + atoms, np.zeros(12, int)], axis=1)}
    score = docking_scores.evaluate(right, complexes, None)["pointers_agree"]
    assert (score.value, "in the pocket that is nearest" in score.about) == (1, True)
    other = distance[np.arange(12), 1 - truth["pocket"]].argmin(axis=1)
    free = np.stack([other + atoms, other + atoms], axis=1)
    score = docking_scores.evaluate(outputs | {"latents": free}, complexes, None)["pointers_agree"]
    assert (score.value, "in the pocket that is not nearest" in score.about) == (1, True)
    opposite = np.stack([own + atoms, other + atoms], axis=1)  # either pointer alone determines the pocket
    assert docking_scores.evaluate(outputs | {"latents": opposite}, complexes, None)["pointers_agree"].value == 1
    mixed = np.where(np.arange(12)[:, None] < 4, right["latents"], free)
    assert docking_scores.evaluate(outputs | {"latents": mixed}, complexes, None)["pointers_agree"].value == 8 / 12
    neither = outputs | {"latents": np.zeros((12, 2), int)}  # both point at an atom
    assert docking_scores.evaluate(neither, complexes, None)["pointers_agree"].value == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latents.codes": 8}, "latents.codes is 8; it must be 0 with docking"),
        ({"diffusion.schedule": "linear"}, "diffusion.schedule"),
        ({"diffusion.self_cond_rate": 0.9}, "diffusion.self_cond_rate is 0.9; it must be 0 with docking"),
        ({"diffusion.schedule_options.tau": 2.0}, "docking has no gamma schedule"),
        ({"docking.rotation": (2.0, 1.0)}, "the first sigma must be smaller"),
        ({"docking.rotation": (0.1, 6.0)}, "the second sigma must be at most 3"),
        ({"docking.torsion": (0.1, 12.0)}, "the second sigma must be at most 4"),
        ({"data.atom_types": 0}, "config.data.atom_types must be 1 or more with docking"),
    ],
)
def test_fields_that_docking_would_ignore_are_errors(changes, message):
    with pytest.raises(UsageError, match=message):
        make_task(small_config(**changes))


def test_networks_that_do_not_fit_are_errors():
    config = small_config("plain")
    config.network = sections.mlp()
    with pytest.raises(UsageError, match="docking requires 'pose'"):
        make_task(config)
    config = small_config("plain")
    config.latents.update(count=2, encoder=sections.latent_encoder(), embed=sections.latent_transformer())
    with pytest.raises(UsageError, match="docking requires 'pointers'"):
        make_task(config)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "ddim"}, "unknown sampler of docking"),
        ({"td": 1.0}, "docking does not support td 1.0"),
        ({"steps": 0}, "docking requires at least 1 step"),
        ({"latent_guidance": 1.0}, "requires a model with latents"),
    ],
)
def test_options_that_docking_does_not_have_are_errors(complexes, changes, message):
    task = make_task(small_config("plain"))
    condition = task.condition(np.arange(2), None, complexes.test)
    options = sample_options(base_config().sample, **{"sampler": "sde", "steps": 2, **changes})
    with pytest.raises(UsageError, match=message):
        task.sample({}, condition, keys(2), options)


def test_samples_require_complexes_and_take_no_labels(complexes):
    task = make_task(small_config("plain"))
    with pytest.raises(UsageError, match="docking requires examples that are complexes"):
        task.condition(np.arange(2), None, Arrays({"image": np.zeros((2, 4, 4, 1))}))
    incomplete = {name: array for name, array in stack(complexes.test).items() if name not in ("bonds", "moved")}
    with pytest.raises(UsageError, match="they have no 'bonds', 'moved'"):
        task.condition(np.arange(2), None, Arrays(incomplete))
    shapes = [
        {name: array.shape for name, array in task.condition(np.arange(2), None, examples).items()}
        for examples in (complexes.test, None)
    ]
    assert shapes[0].pop("poses") == (2, 2, pockets.ATOMS[1], 3)  # only synthetic complexes have them
    assert shapes[0] == shapes[1]
    with pytest.raises(UsageError, match="docking has no classes"):
        task.condition(np.arange(2), (1,), complexes.test)


def prior_config():
    config = load_config("docking:prior")
    config.first = small_config()
    config.data = config.first.data
    config.network = config.first.network
    return config


@pytest.mark.slow
def test_the_prior_learns_the_probabilities_of_the_encoder(complexes, monkeypatch):
    probabilities = jax.nn.softmax(3 * jax.random.normal(jax.random.key(1), (2, 75)))

    def encode(model, params, arrays):
        exist = jnp.concatenate([arrays["atoms"] > 0, arrays["residues"] > 0])
        return jnp.where(exist, jnp.log(probabilities), -jnp.inf)

    monkeypatch.setattr(docking_model, "encode", encode)
    task, batch = make_task(prior_config()), stack(complexes.train)
    params = task.init(jax.random.key(0))
    exist = np.concatenate([batch["atoms"] > 0, batch["residues"] > 0], axis=1)
    q = np.where(exist[:, None], probabilities, 0)
    q /= q.sum(-1, keepdims=True)
    entropy = -np.sum(q * np.log(np.maximum(q, 1e-30)), axis=(1, 2)).mean()
    value, gradient = jax.jit(jax.value_and_grad(lambda params: task.loss(params, batch, keys(12))[0]))(params)
    assert float(value) > entropy  # the cross-entropy exceeds the entropy unless the prior is exact
    assert float(value) == pytest.approx(2 * np.log(exist.sum(1)).mean(), rel=0.3)  # untrained, it is nearly uniform
    assert max(float(jnp.abs(part).max()) for part in jax.tree.leaves(gradient["prior"])) > 0
    assert max(float(jnp.abs(part).max()) for part in jax.tree.leaves(gradient["first"])) == 0


def test_the_prior_generates_pointers_for_the_first_stage(complexes):
    config = prior_config()
    task = make_task(config)
    assert task.frozen == ("first",)
    params, options = task.init(jax.random.key(0)), sample_options(config.sample, steps=2)
    condition = task.condition(np.arange(12), None, complexes.test)
    assert "example" not in condition
    outputs = draw(task, params, condition, options)
    nodes = np.concatenate([condition["atoms"], condition["residues"]], axis=1) > 0
    assert outputs["latents"].shape == (12, 2)
    assert np.take_along_axis(nodes, np.asarray(outputs["latents"]), axis=1).all()


def test_a_prior_requires_the_model_and_the_network_of_its_first_stage():
    config = prior_config()
    config.prior.model = "autoregressive"
    with pytest.raises(UsageError, match="requires pointers"):
        make_task(config)
    config = prior_config()
    config.network = sections.pose(layers=7)
    with pytest.raises(UsageError, match="must equal that of the first stage"):
        make_task(config)


@pytest.mark.parametrize(("field", "value"), [("docking.translation", (0.5, 3.0)), ("diffusion.lag", 1.0)])
def test_fields_that_a_prior_over_pointers_would_ignore_are_errors(field, value):
    config = prior_config()
    config.update_from_flattened_dict({field: value})
    with pytest.raises(UsageError, match=f"config.{field} .* with a prior over pointers"):
        make_task(config)


def confidence_config(variant="plain"):
    config = load_config("docking:confidence")
    config.first = prior_config() if variant == "prior" else small_config(variant)
    config.network = (config.first.first if variant == "prior" else config.first).network
    return config


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["plain", "prior"])
def test_samples_of_a_docking_run_have_a_confidence(complexes, variant):
    config = confidence_config(variant)
    task = make_task(config)
    params, options = task.init(jax.random.key(0)), sample_options(config.sample, steps=2)
    condition = task.condition(np.arange(12), None, complexes.test)
    outputs = draw(task, params, condition, options)
    alone = draw(make_task(config.first), params["first"], condition, options)
    np.testing.assert_allclose(outputs["pose"], alone["pose"], atol=1e-3)
    assert ("latents" in outputs) == (variant == "prior")
    assert ((outputs["confidence"] > 0) & (outputs["confidence"] < 1)).all()


@pytest.mark.slow
def test_a_confidence_model_learns_which_poses_are_close(complexes):
    task = make_task(confidence_config())
    batch = stack(complexes.train)
    rng = np.random.default_rng(0)
    distance = np.resize(np.float32([0.5, 3.5]), 48)
    batch = {name: np.resize(array, (48, *array.shape[1:])) for name, array in batch.items()}
    direction = rng.normal(size=(48, 1, 3)).astype(np.float32)
    direction /= np.linalg.norm(direction, axis=-1, keepdims=True)
    batch |= {"sampled": batch["pose"] + distance[:, None, None] * direction, "deviation": distance}
    params = task.init(jax.random.key(0))
    optimizer = optax.adam(1e-2)

    @jax.jit
    def step(params, state):
        (value, metrics), gradient = jax.value_and_grad(task.loss, has_aux=True)(params, batch, keys(48))
        update, state = optimizer.update(gradient["confidence"], state)
        return params | {"confidence": optax.apply_updates(params["confidence"], update)}, state, value, metrics

    state, found = optimizer.init(params["confidence"]), []
    for _ in range(60):
        params, state, value, metrics = step(params, state)
        found.append((float(value), float(metrics["accuracy"])))
    assert found[0][0] == pytest.approx(np.log(2), abs=0.3)  # chance level before training
    assert found[-1][0] < 0.4
    assert found[-1][1] > 0.85
    with pytest.raises(UsageError, match=r"config.data.distilled"):
        task.loss(params, stack(complexes.train), keys(12))


def test_top_ranked_poses_are_scored(complexes):
    truth = stack(complexes.test)
    source = np.repeat(np.arange(12), 6).astype(np.int32)
    offset = np.tile(np.float32([9, 4, 1, 9, 9, 0.5]), 12)  # angstroms, of the six poses of each complex
    outputs = {"pose": truth["pose"][source] + offset[:, None, None] * np.float32([1, 0, 0]), "source": source}

    def scores(confidence):
        found = docking_scores.evaluate(outputs | {"confidence": np.tile(np.float32(confidence), 12)}, complexes, None)
        return {name: score.value for name, score in found.items()}

    right = scores([0.1, 0.3, 0.8, 0.1, 0.1, 0.9])
    assert right["top1_below_2"] == right["top1_below_5"] == right["top5_below_2"] == right["confidence_accuracy"] == 1
    wrong = scores([0.2, 0.9, 0.2, 0.1, 0.2, 0.1])
    assert wrong["top1_below_2"] == 0
    assert wrong["top1_below_5"] == 1
    assert wrong["top5_below_2"] == 1
    assert wrong["confidence_accuracy"] == pytest.approx(3 / 6)
    assert wrong["best_of_5"] == 1  # the best of the first five samples
    assert wrong["confidence_accuracy_floor"] == pytest.approx(4 / 6)  # of six poses, two are close
    few = {name: array[::6] for name, array in outputs.items()} | {"confidence": np.zeros(12, np.float32)}
    assert not {name for name in docking_scores.evaluate(few, complexes, None) if name.startswith("top")}
    outputs["pose"] = truth["poses"][source, 1 - truth["pocket"][source]]  # the other pocket
    assert (scores([1, 0, 0, 0, 0, 0])["top1_below_2"], scores([1, 0, 0, 0, 0, 0])["top1_known_below_2"]) == (0, 1)


def test_a_confidence_model_requires_a_docking_run():
    config = confidence_config()
    config.first = load_config("digits")
    with pytest.raises(UsageError, match="requires a docking run"):
        make_task(config)
    config = confidence_config()
    config.network = sections.pose(layers=4)
    with pytest.raises(UsageError, match="must equal that of the docking run"):
        make_task(config)
    config = confidence_config()
    config.diffusion.schedule = "linear"
    with pytest.raises(UsageError, match=r"diffusion.schedule is 'linear'; it must be 'cosine' with a confidence"):
        make_task(config)


@pytest.mark.parametrize("variant", docking_config.VARIANTS)
def test_the_config_of_every_variant_has_only_fields_that_its_model_uses(variant):
    config = docking_config.get_config(variant)
    checks = {
        "docking": combinations.check_docking,
        "prior": combinations.check_pointer_prior,
        "confidence": combinations.check_confidence,
    }
    checks[config.task](config)


def test_torsions_of_molecules_are_scored():
    pytest.importorskip("rdkit")
    arrays = pockets.draw_examples(4, seed=0, source=pockets.MOLECULES)
    complexes = Dataset("pose", Arrays(arrays), Arrays(arrays), (pockets.ATOMS[1], 3), 0, 0, (), "")
    source = np.arange(4, dtype=np.int32)
    for poses in (arrays["pose"], arrays["poses"][source, 1 - arrays["pocket"]]):
        scores = docking_scores.evaluate({"pose": poses, "source": source}, complexes, None)
        assert scores["torsion_below_10"].value == 1  # relative to the true pose in the nearer pocket
        assert scores["torsions_all_below_30"].value == 1
        assert scores["torsions_all_below_30_chance"].value < 1
    blurred = arrays["pose"] + np.random.default_rng(0).normal(size=arrays["pose"].shape).astype(np.float32)
    scores = docking_scores.evaluate({"pose": blurred, "source": source}, complexes, None)
    found = [scores[f"torsion_below_{degrees}"].value for degrees in (10, 30, 60, 120)]
    assert found == sorted(found)
    assert found[0] < 1
