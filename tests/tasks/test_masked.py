"""Masked diffusion on images, tokens and captions: the bound, what the network sees, and the samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import perturbed

from bitdiff import data
from bitdiff.configs import mixture, shapes
from bitdiff.configuration import load_config, presets, sections
from bitdiff.diffusion import masking
from bitdiff.evaluation.likelihood import bits_per_value, open_likelihood
from bitdiff.evaluation.scores import open_data
from bitdiff.inference import trained
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task, masked, network_evaluations, sample_options
from bitdiff.training.trainer import train

KEY = jax.random.key(0)
KEYS = jax.random.split(KEY, 8)


def tokens_config(**changes):
    config = mixture.get_config("masked")
    config.data.update(length=6, vocab_size=7, num_classes=3)
    config.diffusion.label_dropout = 0.5
    config.network = sections.transformer(dim=16, layers=1, head_dim=8)
    config.update_from_flattened_dict(changes)
    return config


def images_config(make_config):
    config = make_config()
    presets.masked(config)
    return data.resolve(config, data.load(config.data))


@pytest.fixture
def model():
    """A task on tokens with labels, and parameters that are far from their start."""
    task = make_task(tokens_config())
    return task, perturbed(jax.jit(task.init)(KEY))


def examples(count=8):
    tokens = jax.random.randint(KEY, (count, 6), 0, 7)
    return {"tokens": tokens, "label": jnp.arange(count) % 3}


def options(**changes):
    return sample_options(tokens_config().sample, **{"steps": 5} | changes)


def test_an_untrained_model_gives_all_values_the_same_probability():
    task = make_task(tokens_config())
    params = jax.jit(task.init)(KEY)
    nats, values = jax.vmap(lambda key: task.bound(params, examples(), jax.random.split(key, 8)))(
        jax.random.split(KEY, 2_000)
    )
    assert (values == 6).all()
    # The output starts near zero, so each value costs ln 7. 16,000 draws: a standard error of about 1%.
    assert float(nats.mean()) == pytest.approx(6 * np.log(7), rel=0.03)


def test_the_loss_is_the_bound_per_value_at_random_times(model):
    task, params = model
    repeated = jax.random.split(KEY, 2_000)
    loss, t = jax.vmap(lambda key: task.losses(params, examples(), jax.random.split(key, 8)))(repeated)
    bound, _ = jax.vmap(lambda key: task.bound(params, examples(), jax.random.split(key, 8)))(repeated)
    assert float(t.min()) >= 0
    assert float(t.mean()) == pytest.approx(0.5, abs=0.01)
    # The loss drops labels at rate 0.5, and the network, far from its start, is no better with them.
    assert float(loss.mean()) == pytest.approx(float(bound.mean()) / 6, rel=0.1)


def test_the_network_sees_values_that_remain_and_no_others(monkeypatch):
    seen = {}

    def fake_bound(predict, x0, t, keys):
        x_t = jnp.full_like(x0, masking.MASK).at[:, 2].set(x0[:, 2])
        seen["logits"] = predict(x_t, jnp.full(len(x0), 0.5))
        return jnp.zeros(len(x0))

    monkeypatch.setattr(masking, "bound", fake_bound)
    task = make_task(tokens_config())
    params = perturbed(jax.jit(task.init)(KEY))

    def logits(tokens):
        task.losses(params, examples() | {"tokens": tokens}, KEYS)
        return np.asarray(seen["logits"])

    tokens = examples()["tokens"]
    before = logits(tokens)
    assert before.shape == (8, 6, 1, 7)
    np.testing.assert_array_equal(logits(tokens.at[:, 0].set((tokens[:, 0] + 1) % 7)), before)
    assert np.abs(logits(tokens.at[:, 2].set((tokens[:, 2] + 1) % 7)) - before).max() > 1e-3


@pytest.mark.parametrize("sampler", masking.SAMPLERS)
def test_samples_depend_on_their_key_label_and_known_values(model, sampler):
    task, params = model
    condition = {"label": jnp.arange(8) % 3}
    draw = jax.jit(lambda condition, keys: task.sample(params, condition, keys, options(sampler=sampler))["tokens"])
    samples = draw(condition, KEYS)
    assert samples.shape == (8, 6)
    assert samples.min() >= 0
    assert samples.max() < 7
    np.testing.assert_array_equal(draw(condition, KEYS), samples)
    np.testing.assert_array_equal(draw({"label": condition["label"][4:]}, KEYS[4:]), samples[4:])
    assert (draw(condition, jax.random.split(jax.random.key(1), 8)) != samples).any()
    known = jnp.full((8, 6), -1).at[:, 1].set(3)
    completed = draw(condition | {"known": known}, KEYS)
    assert (completed[:, 1] == 3).all()
    assert (completed[:, 0] >= 0).all()


@pytest.mark.parametrize("sampler", masking.SAMPLERS)
def test_frames_are_estimates_that_end_at_the_sample(model, sampler):
    task, params = model
    condition = {"label": jnp.arange(8) % 3}
    without = task.sample(params, condition, KEYS, options(sampler=sampler))
    outputs = task.sample(params, condition, KEYS, options(sampler=sampler, frames=3))
    frames = np.asarray(outputs["trajectory"])
    assert frames.shape == (8, 3, 6)
    assert frames.min() >= 0
    assert (frames[:, 0] != frames[:, 2]).any()
    np.testing.assert_array_equal(frames[:, -1], outputs["tokens"])
    np.testing.assert_array_equal(outputs["tokens"], without["tokens"])


def test_guidance_moves_away_from_the_model_without_the_label():
    rng = np.random.default_rng(0)
    logits, others = (jnp.asarray(rng.normal(size=(5, 7)), jnp.float32) for _ in range(2))
    guided = masked._guided(lambda x_t, alpha_t: logits + 3.0, lambda x_t, alpha_t: others, 2.0)
    found = jax.nn.softmax(guided(jnp.zeros(5), jnp.zeros(5)))
    probabilities, without = (np.exp(array) / np.exp(array).sum(-1, keepdims=True) for array in (logits, others))
    expected = probabilities**3 / without**2
    np.testing.assert_allclose(found, expected / expected.sum(-1, keepdims=True), rtol=1e-4)


def test_guidance_changes_samples(model):
    task, params = model
    # The weights are random, so the label affects every position.
    condition = {"label": jnp.full(400, 2)}
    keys = jax.random.split(KEY, 400)

    def frequencies(weight):
        tokens = task.sample(params, condition, keys, options(guidance=weight))["tokens"]
        return np.bincount(np.asarray(tokens).ravel(), minlength=7) / tokens.size

    plain, guided = frequencies(0.0), frequencies(3.0)
    assert np.abs(plain - guided).sum() > 0.02
    assert network_evaluations(options(), task) == 5


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "ddim"}, "unknown sampler of masked diffusion"),
        ({"steps": 0}, "requires at least 1"),
        ({"td": 1.0}, "td 1.0: not supported"),
        ({"beams": 2}, "beams 2"),
        ({"temperature": 0.5}, "temperature is 0.5, but the sampler ancestral ignores it"),
        ({"image_guidance": 1.0}, "requires a model trained with dropout of pictures"),
        ({"schedule": "linear"}, "schedule linear"),
    ],
)
def test_options_it_would_ignore_are_refused(model, changes, message):
    task, params = model
    with pytest.raises(UsageError, match=message):
        task.sample(params, {"label": jnp.zeros(8, int)}, KEYS, options(**changes))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("diffusion.loss", "logistic"),
        ("diffusion.self_cond_rate", 0.5),
        ("diffusion.schedule_options.tau", 3.0),
        ("bits.encoding", "continuous"),
    ],
)
def test_fields_it_would_ignore_are_refused(field, value):
    with pytest.raises(UsageError, match=f"config.{field}"):
        make_task(tokens_config(**{field: value}))


@pytest.mark.slow
def test_images_are_learned_and_measured(make_config, tmp_path):
    config = images_config(make_config)
    config.optimizer.learning_rate = 3e-3
    config.train.update(steps=80, batch_size=32)
    train(config, tmp_path / "run")
    run, dataset = open_data(trained.load(tmp_path / "run"))
    bits = bits_per_value(run, dataset)["bits_per_value"]
    # Uniform: log2(17) = 4.09; the entropy of single pixels by position is about 2.
    assert 1.0 < bits.value < 3.0
    assert "359 test examples" in bits.about
    judge = open_likelihood(run)
    assert judge is not None
    assert judge.scores({}, dataset)["bits_per_value"] == bits
    assert open_likelihood(trained.load("digits")) is None


@pytest.mark.slow
def test_captions_of_pictures(tmp_path):
    config = shapes.get_config("masked")
    config.encoder.update(dim=16, layers=1, head_dim=8, stem=(8, 8, 8))
    config.network.update(dim=16, layers=1, head_dim=8)
    dataset = data.load(config.data)
    config = data.resolve(config, dataset)
    task = make_task(config)
    params = jax.jit(task.init)(KEY)
    batch = {name: jnp.asarray(array) for name, array in data.dataset.stack(dataset.train, 4).items()}
    loss, t = task.losses(params, batch, KEYS[:4])
    nats, values = task.bound(params, batch, KEYS[:4])
    assert loss.shape == t.shape == nats.shape == (4 * config.data.captions,)
    assert (values == config.data.length).all()
    condition = task.condition(np.arange(4), None, dataset.test)
    outputs = task.sample(params, condition, KEYS[:4], sample_options(config.sample, steps=3))
    assert outputs["tokens"].shape == (4, config.data.length)
    assert outputs["source"].tolist() == [0, 1, 2, 3]


def test_configs_of_masked_diffusion_are_complete():
    for name in ("mixture:masked", "fashion:small_masked", "fashion:full_masked", "shapes:masked"):
        config = load_config(name)
        assert (config.task, config.sample.sampler, config.diffusion.self_cond_rate) == ("masked", "ancestral", 0)
