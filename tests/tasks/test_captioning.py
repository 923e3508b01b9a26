"""Both kinds of captioning models, with networks of a few hundred weights."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import perturbed

from bitdiff import data
from bitdiff.configs import shapes, shapes_disco
from bitdiff.configuration import base_config, presets, sections
from bitdiff.networks import make_network
from bitdiff.networks.vit import ViT
from bitdiff.networks.vit_weights import load_weights
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task, sample_options
from bitdiff.training.initial_params import initial_params


def make_config(variant, **changes):
    config = shapes.get_config(variant)
    config.encoder.update(dim=16, layers=1, head_dim=8)
    config.network.update(dim=16, layers=2, head_dim=8)
    if variant == "blocks":
        config.blocks.head.update(dim=16, head_dim=8)
    config.sample.update(steps=min(config.sample.steps, 4), lag=min(config.sample.lag, 3.0))
    config.update_from_flattened_dict(changes)
    return data.resolve(config, data.load(config.data))


@pytest.fixture(scope="module")
def dataset():
    return data.load(shapes.get_config().data)


def batch_of(dataset, count):
    examples = [dataset.train[i] for i in range(count)]
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


@pytest.mark.slow
def test_cached_decoding_equals_the_whole_sequence():
    options = sections.transformer(dim=16, layers=2, head_dim=8)
    facts = {"length": 6, "vocab_size": 7, "crosses": True}
    network = make_network(options, out_channels=7, num_classes=0, **facts)
    context = jax.random.normal(jax.random.key(1), (3, 5, 12))
    tokens = jax.random.randint(jax.random.key(2), (3, 6), 0, 7)

    def both(module, tokens, context):
        return module(tokens, memory=module.remember(context))

    params = perturbed(jax.jit(functools.partial(network.init, method=both))(jax.random.key(0), tokens, context))
    evaluate = jax.jit(functools.partial(network.apply, method=both))
    whole = evaluate(params, tokens, context)
    memory = network.apply(params, context, method="remember")
    cache = network.apply(params, 3, method="empty_cache")
    advance = jax.jit(functools.partial(network.apply, method="advance"))
    for i in range(6):
        logits, cache = advance(params, tokens[:, i : i + 1], i, cache, memory)
        np.testing.assert_allclose(logits[:, 0], whole[:, i], atol=2e-5)
    later = evaluate(params, tokens.at[:, 4].set((tokens[:, 4] + 1) % 7), context)
    np.testing.assert_allclose(later[:, :4], whole[:, :4], atol=1e-6)
    assert (np.abs(later[:, 4:] - whole[:, 4:]).max(axis=(0, 2)) > 1e-3).all()


@pytest.mark.parametrize("variant", [*presets.CAPTION_MODELS, "blocks"])
@pytest.mark.slow
def test_the_loss_depends_on_pictures_and_rows_do_not_mix(variant, dataset):
    task = make_task(make_config(variant))
    params = perturbed(jax.jit(task.init)(jax.random.key(0)))
    batch, keys = batch_of(dataset, 2), jax.random.split(jax.random.key(1), 2)
    loss = jax.jit(task.loss)
    value = float(loss(params, batch, keys)[0])
    assert np.isfinite(value)
    black = batch | {"image": np.zeros_like(batch["image"])}
    assert abs(float(loss(params, black, keys)[0]) - value) > 1e-4
    one = {name: array[:1] for name, array in batch.items()}
    other = {name: array[1:] for name, array in batch.items()}
    parts = [float(loss(params, part, keys[i : i + 1])[0]) for i, part in enumerate((one, other))]
    assert np.mean(parts) == pytest.approx(value, rel=1e-4)


LAGGED = {"diffusion.lag": 4.0, "sample.lag": 4.0, "sample.steps": 12}


@pytest.mark.parametrize(("variant", "changes"), [("softmax", LAGGED), ("autoregressive", {})])
@pytest.mark.slow
def test_a_model_learns_to_distinguish_four_pictures(variant, changes, dataset):
    """Memorizes their captions, which a model that ignores its pictures or mixes rows cannot do."""
    import optax

    config = make_config(variant, **changes)
    config.encoder.update(dim=32)
    config.network.update(dim=32)
    task = make_task(config)
    batch = batch_of(dataset, 4)
    batch["tokens"] = batch["tokens"][:, :1].repeat(2, axis=1)
    optimizer = optax.adam(3e-3)
    params = jax.jit(task.init)(jax.random.key(0))
    opt_state = optimizer.init(params)

    @jax.jit
    def step(params, opt_state, key):
        grads = jax.grad(lambda params: task.loss(params, batch, jax.random.split(key, 4))[0])(params)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state

    for i in range(400):
        params, opt_state = step(params, opt_state, jax.random.key(i))
    condition = task.condition(np.arange(4), None, dataset.train)
    np.testing.assert_array_equal(condition["source"], np.arange(4))
    options, keys = sample_options(config.sample), jax.random.split(jax.random.key(1), 4)
    outputs = jax.jit(lambda params, condition: task.sample(params, condition, keys, options))(params, condition)
    wanted = [dataset.tokenizer.decode(row[0]) for row in batch["tokens"]]
    assert [dataset.tokenizer.decode(row) for row in np.asarray(outputs["tokens"])] == wanted


SEED = 5  # gives weights with which a greedy search misses the best sequence


def make_small(**changes):
    """A model of four tokens from a vocabulary of five: 1 ends a sequence, 0 pads it."""
    config = base_config()
    config.task = "autoregressive"
    config.data.update(length=4, vocab_size=5, num_classes=0, eos=1, pad=0)
    config.network = sections.transformer(dim=16, layers=1, head_dim=8)
    config.sample.update(sampler="beam", steps=0)
    config.update_from_flattened_dict(changes)
    task = make_task(config)
    return task, perturbed(jax.jit(task.init)(jax.random.key(SEED)), 1.0), sample_options(config.sample)


def log_probabilities(task, params, rows):
    """Log probabilities of sequences: minus their losses, means over the tokens up to the end, times their lengths."""
    ends = np.array([row.index(1) + 1 if 1 in row else len(row) for row in rows])
    keys = jax.random.split(jax.random.key(0), 1)
    losses = jax.jit(jax.vmap(lambda row: task.loss(params, {"tokens": row[None]}, keys)[0]))(np.array(rows))
    return -np.asarray(losses) * ends


def sequences():
    rows = []
    for row in itertools.product([1, 2, 3, 4], repeat=4):
        end = row.index(1) if 1 in row else 3
        rows.append((*row[: end + 1], *[0] * (3 - end)))
    return sorted(set(rows))


@pytest.mark.slow
def test_a_wide_beam_finds_the_most_likely_sequence():
    task, params, options = make_small()
    # PAD is never drawn, so the probabilities of the other tokens are conditional on that.
    rows = sequences()
    logits_without_pad = params | {"params": params["params"] | {"out": dict(params["params"]["out"])}}
    logits_without_pad["params"]["out"]["bias"] = params["params"]["out"]["bias"].at[0].set(-1e9)
    scores = dict(zip(rows, log_probabilities(task, logits_without_pad, rows), strict=True))
    assert np.exp(list(scores.values())).sum() == pytest.approx(1.0, abs=1e-4)
    best = max(scores, key=scores.get)
    keys = jax.random.split(jax.random.key(0), 1)
    wide = task.sample(params, {}, keys, options._replace(beams=5))
    assert tuple(np.asarray(wide["tokens"])[0].tolist()) == best
    greedy = tuple(np.asarray(task.sample(params, {}, keys, options)["tokens"])[0].tolist())
    assert scores[greedy] < scores[best] - 0.01  # so that a search that does not keep its beams would fail


@pytest.mark.slow
def test_random_sampling_follows_the_models_probabilities():
    task, params, options = make_small()
    params["params"]["out"]["bias"] = params["params"]["out"]["bias"].at[0].set(-1e9)
    keys = jax.random.split(jax.random.key(4), 20_000)
    drawn = np.asarray(jax.jit(lambda: task.sample(params, {}, keys, options._replace(sampler="random")))()["tokens"])
    rows = sequences()
    counts = dict.fromkeys(rows, 0)
    for row in map(tuple, drawn.tolist()):
        counts[row] += 1
    expected = np.exp(log_probabilities(task, params, rows))
    distance = 0.5 * np.abs(np.array(list(counts.values())) / len(drawn) - expected).sum()
    assert distance < 2 * np.sqrt(len(rows) / (2 * np.pi * len(drawn)))  # twice what chance alone gives


def test_tokens_after_the_end_do_not_affect_the_loss():
    task, params, _ = make_small()
    keys = jax.random.split(jax.random.key(0), 1)
    loss = jax.jit(lambda row: task.loss(params, {"tokens": row[None]}, keys)[0])
    losses = [float(loss(np.array([3, 1, a, b]))) for a, b in ((0, 0), (4, 2))]
    assert losses[0] == losses[1]
    assert losses[0] != float(loss(np.array([3, 2, 0, 0])))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 10}, "steps 10: not supported"),
        ({"td": 1.0, "lag": 2.0}, r"td 1.0, .*lag 2.0: not supported"),
        ({"sampler": "ddim"}, "unknown sampler of an autoregressive model 'ddim'"),
        ({"beams": 0}, "beams is 0"),
        ({"temperature": 0.5}, "temperature 0.5"),
        ({"sampler": "random", "beams": 2}, "'random' supports 1 to 1"),
    ],
)
def test_options_that_an_autoregressive_model_does_not_support_are_refused(changes, message):
    task, params, options = make_small()
    with pytest.raises(UsageError, match=message):
        task.sample(params, {}, jax.random.split(jax.random.key(0), 1), options._replace(**changes))


def test_unsupported_options_and_labels_are_refused(dataset):
    config = make_config("bits")
    task = make_task(config)
    params = jax.eval_shape(task.init, jax.random.key(0))
    keys = jax.random.split(jax.random.key(0), 2)
    options = sample_options(config.sample, beams=2)
    condition = task.condition(np.arange(2), None, dataset.test)
    with pytest.raises(UsageError, match="beams is 2; only an autoregressive model"):
        task.sample(params, condition, keys, options)
    with pytest.raises(UsageError, match=r"lag is 25.0; the model was trained with config.diffusion.lag="):
        task.sample(params, condition, keys, options._replace(beams=1, lag=25.0))
    with pytest.raises(UsageError, match=r"temperature is 0.5; only docking and masked diffusion"):
        task.sample(params, condition, keys, options._replace(beams=1, temperature=0.5))
    with pytest.raises(UsageError, match="labels were given"):
        task.condition(np.arange(2), (1,), dataset.test)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"diffusion.loss": "cross_entropy"}, "head is 'linear'; the cross_entropy loss requires factorised_softmax"),
        ({"encoder.patch": 5}, "cannot be cut into patches of 5"),
        ({"encoder.name": "resnet"}, "unknown image encoder 'resnet'"),
        ({"network.head_dim": 3}, "cannot be split"),
    ],
)
def test_bad_configs_are_reported(changes, message):
    with pytest.raises(UsageError, match=message):
        jax.eval_shape(make_task(make_config("bits", **changes)).init, jax.random.key(0))


def test_data_and_task_must_match():
    config = shapes.get_config()
    dataset = data.load(config.data)
    config.task = "images"
    with pytest.raises(UsageError, match=r"require 'config.task=tokens' or 'config.task=autoregressive'"):
        data.resolve(config, dataset)
    config = shapes.get_config()
    config.encoder = {}
    with pytest.raises(UsageError, match=r"config.encoder is empty, but the data .* have pictures"):
        data.resolve(config, dataset)


def test_the_full_size_models_match_the_paper():
    from bitdiff.configs import coco

    config = coco.get_config("bits")
    config.data.update(eos=2, pad=0)
    params = jax.eval_shape(make_task(config).init, jax.random.key(0))
    encoder = sum(leaf.size for leaf in jax.tree.leaves(params["encoder"]))
    # ViT-B/16 has 85,798,656 weights at 224 pixels without its head; at 640 there are 1,404 more positions.
    assert encoder == 85_798_656 + 1_404 * 768
    assert params["params"]["embed_0"]["kernel"].shape[0] == 2 * 15
    assert params["params"]["positions"].shape == (64, 512)
    config = coco.get_config("autoregressive")
    config.data.update(eos=2, pad=0)
    params = jax.eval_shape(make_task(config).init, jax.random.key(0))
    assert params["params"]["token"]["embedding"].shape == (32_001, 512)
    assert sum(leaf.size for leaf in jax.tree.leaves(params["encoder"])) == encoder


def published(dim=12, heads=3, layers=2, patch=4, positions=5):
    """Random weights in the layout of the ViT authors' files."""
    random = np.random.RandomState(0)
    arrays = {
        "cls": random.randn(1, 1, dim),
        "embedding/kernel": random.randn(patch, patch, 3, dim) * 0.1,
        "embedding/bias": random.randn(dim),
        "Transformer/posembed_input/pos_embedding": random.randn(1, positions, dim),
        "Transformer/encoder_norm/scale": random.randn(dim),
        "Transformer/encoder_norm/bias": random.randn(dim),
        "head/kernel": random.randn(dim, 10),
    }
    for i in range(layers):
        block = f"Transformer/encoderblock_{i}"
        for name in ("LayerNorm_0", "LayerNorm_2"):
            arrays |= {f"{block}/{name}/{kind}": random.randn(dim) for kind in ("scale", "bias")}
        for name in ("query", "key", "value"):
            place = f"{block}/MultiHeadDotProductAttention_1/{name}"
            arrays |= {f"{place}/kernel": random.randn(dim, heads, dim // heads) * 0.3}
            arrays |= {f"{place}/bias": random.randn(heads, dim // heads)}
        place = f"{block}/MultiHeadDotProductAttention_1/out"
        arrays |= {f"{place}/kernel": random.randn(heads, dim // heads, dim) * 0.3, f"{place}/bias": random.randn(dim)}
        for name, shape in (("Dense_0", (dim, 4 * dim)), ("Dense_1", (4 * dim, dim))):
            arrays |= {f"{block}/MlpBlock_3/{name}/kernel": random.randn(*shape) * 0.2}
            arrays |= {f"{block}/MlpBlock_3/{name}/bias": random.randn(shape[1])}
    return {name: array.astype(np.float32) for name, array in arrays.items()}


def vit_by_hand(arrays, image, patch=4, layers=2):
    """The output of the ViT for one picture, in NumPy, from the equations of Dosovitskiy et al. (1 to 4)."""
    from scipy.special import erf

    def norm(x, place):
        mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-6) * arrays[f"{place}/scale"] + arrays[f"{place}/bias"]

    pixels = image / 127.5 - 1.0
    side = image.shape[0] // patch
    rows = [
        np.einsum(
            "hwc,hwcd->d", pixels[patch * i : patch * (i + 1), patch * j : patch * (j + 1)], arrays["embedding/kernel"]
        )
        for i in range(side)
        for j in range(side)
    ]
    x = np.concatenate([arrays["cls"][0], np.stack(rows) + arrays["embedding/bias"]])
    x = x + arrays["Transformer/posembed_input/pos_embedding"][0]
    for i in range(layers):
        block = f"Transformer/encoderblock_{i}"
        place = f"{block}/MultiHeadDotProductAttention_1"
        h = norm(x, f"{block}/LayerNorm_0")
        q, k, v = (
            np.einsum("ld,dhe->hle", h, arrays[f"{place}/{name}/kernel"]) + arrays[f"{place}/{name}/bias"][:, None]
            for name in ("query", "key", "value")
        )
        scores = np.einsum("hle,hme->hlm", q, k) / np.sqrt(q.shape[-1])
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        weights /= weights.sum(-1, keepdims=True)
        seen = np.einsum("hlm,hme->lhe", weights, v)
        x = x + np.einsum("lhe,hed->ld", seen, arrays[f"{place}/out/kernel"]) + arrays[f"{place}/out/bias"]
        h = norm(x, f"{block}/LayerNorm_2") @ arrays[f"{block}/MlpBlock_3/Dense_0/kernel"]
        h = h + arrays[f"{block}/MlpBlock_3/Dense_0/bias"]
        h = 0.5 * h * (1.0 + erf(h / np.sqrt(2.0)))
        x = x + h @ arrays[f"{block}/MlpBlock_3/Dense_1/kernel"] + arrays[f"{block}/MlpBlock_3/Dense_1/bias"]
    return norm(x, "Transformer/encoder_norm")


@pytest.mark.slow
def test_published_weights_give_the_published_network(tmp_path):
    arrays = published()
    np.savez(tmp_path / "vit.npz", **arrays)
    encoder = ViT(patch=4, dim=12, layers=2, head_dim=4)
    image = np.random.RandomState(1).randint(0, 256, (1, 8, 8, 3), np.uint8)
    abstract = jax.eval_shape(encoder.init, jax.random.key(0), image)
    params = load_weights(tmp_path / "vit.npz", abstract, 4)
    output = encoder.apply(params, image)
    np.testing.assert_allclose(output[0], vit_by_hand(arrays, image[0].astype(np.float64)), atol=2e-4)
    larger = jax.eval_shape(encoder.init, jax.random.key(0), np.zeros((1, 16, 16, 3), np.uint8))
    resized = load_weights(tmp_path / "vit.npz", larger, 4)["params"]["positions"]
    assert resized.shape == (1, 17, 12)
    np.testing.assert_array_equal(resized[0, 0], arrays["Transformer/posembed_input/pos_embedding"][0, 0])
    grid = arrays["Transformer/posembed_input/pos_embedding"][0, 1:]
    np.testing.assert_allclose(resized[0, 1:].mean(0), grid.mean(0), atol=1e-5)


@pytest.mark.slow
def test_rematerialization_keeps_the_encoders_gradients():
    image = np.random.RandomState(1).randint(0, 256, (2, 8, 8, 3), np.uint8)
    gradients = []
    for remat in (False, True):
        encoder = ViT(patch=4, dim=12, layers=1, head_dim=4, remat=remat)
        params = perturbed(jax.jit(encoder.init)(jax.random.key(0), image))
        gradients.append(jax.jit(jax.grad(lambda p, encoder=encoder: (encoder.apply(p, image) ** 3).sum()))(params))
    for a, b in zip(*map(jax.tree.leaves, gradients), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4 * float(np.abs(a).max()) + 1e-5)


def test_mismatched_weights_are_reported(tmp_path):
    encoder = ViT(patch=4, dim=12, layers=2, head_dim=4)
    abstract = jax.eval_shape(encoder.init, jax.random.key(0), np.zeros((1, 8, 8, 3), np.uint8))
    np.savez(tmp_path / "other.npz", **published(dim=24))
    np.savez(tmp_path / "short.npz", **published(layers=1))
    np.savez(tmp_path / "heads.npz", **published(heads=2))
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 nothing")
    for name, message in (
        ("none", "there is no file"),
        ("other", "do not fit config.encoder"),
        ("short", "do not fit config.encoder: 1 layers with heads of 4, not 2 with heads of 4"),
        ("heads", "do not fit config.encoder: 2 layers with heads of 6, not 2"),
        ("bad", "is not an .npz file"),
    ):
        with pytest.raises(UsageError, match=message):
            load_weights(tmp_path / f"{name}.npz", abstract, 4)


def test_training_starts_from_published_weights(tmp_path):
    np.savez(tmp_path / "vit.npz", **published(dim=16, heads=2, layers=1, patch=8, positions=17))
    changes = {"encoder.weights": str(tmp_path / "vit.npz"), "encoder.stem": ()}
    config = make_config("bits", **changes)
    task = make_task(config)
    before = jax.jit(task.init)(jax.random.key(0))
    after = initial_params(config, task, jax.random.key(0))
    assert jax.tree.map(jnp.shape, before) == jax.tree.map(jnp.shape, after)
    np.testing.assert_array_equal(before["params"]["positions"], after["params"]["positions"])
    assert (np.asarray(before["encoder"]["positions"]) != np.asarray(after["encoder"]["positions"])).all()


def prior_config(variant):
    config = shapes_disco.get_config(variant)
    for stage in (config, config.first):
        stage.encoder.update(dim=16, layers=1, head_dim=8)
        stage.network.update(dim=16, layers=1, head_dim=8)
    config.first.latents.encoder.update(dim=16, layers=2)
    config.first.latents.embed.update(dim=16)
    dataset = data.load(config.data)
    config = data.resolve(config, dataset)
    config.first = data.resolve(config.first, dataset)
    return config


@pytest.mark.parametrize("variant", ["prior", "prior_bits"])
@pytest.mark.slow
def test_a_prior_of_captions_latents_sees_the_picture(variant, dataset):
    config = prior_config(variant)
    task = make_task(config)
    params = perturbed(jax.jit(task.init)(jax.random.key(0)))
    batch, keys = batch_of(dataset, 2), jax.random.split(jax.random.key(1), 2)
    loss = jax.jit(task.loss)
    black = batch | {"image": np.zeros_like(batch["image"])}
    assert loss(params, batch, keys)[0] != loss(params, black, keys)[0]
    grads = jax.jit(jax.grad(lambda p: task.loss(p, batch, keys)[0]))(params)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads["first"])) == 0
    assert np.abs(grads["prior"]["encoder"]["embed"]["kernel"]).max() > 0

    condition = task.condition(np.arange(3), None, dataset.test)
    assert "example" not in condition  # its captions would reveal the latents
    keys = jax.random.split(jax.random.key(2), 3)
    options = sample_options(config.sample, steps=1)
    sample = jax.jit(lambda condition: task.sample(params, condition, keys, options))
    outputs = sample(condition)
    assert outputs["latents"].shape == (3, config.first.latents.count)
    np.testing.assert_array_equal(outputs["source"], [0, 1, 2])
    if variant == "prior":  # an untrained denoiser's last estimate hardly depends on the noise
        same = sample(task.condition(np.zeros(3, int), None, dataset.test))
        assert len(np.unique(same["latents"], axis=0)) > 1  # drawn at random for the same picture
    config.encoder = {}
    with pytest.raises(UsageError, match="both stages must see the pictures"):
        make_task(config)
