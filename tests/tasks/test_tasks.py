import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bitdiff import data
from bitdiff.configs import digits, mixture
from bitdiff.diffusion import bits
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import image_scores, make_task, sample_options
from bitdiff.tasks.latent_scores import latent_scores

KEY = jax.random.key(0)
HISTOGRAM = np.eye(1, 40, dtype=int)  # all bits in the first bin


def resolved(config):
    return data.resolve(config, data.load(config.data))


@pytest.fixture(scope="module")
def small():
    """A digits task with label dropout, its randomized parameters, and a batch."""
    from conftest import tiny_config

    config = resolved(tiny_config())
    task = make_task(config)
    params = jax.jit(task.init)(KEY)
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(KEY, p.shape), params)
    dataset = data.load(config.data)
    batch = {name: np.stack([dataset.train[i][name] for i in range(8)]) for name in ("image", "label")}
    return config, task, params, batch


@pytest.mark.parametrize("encoding", bits.ENCODINGS)
@pytest.mark.parametrize("module", [digits, mixture])
def test_every_encoding_builds_trains_and_samples(module, encoding):
    config = resolved(module.get_config(encoding))
    task = make_task(config)
    params = jax.eval_shape(task.init, KEY)
    example = data.load(config.data).train[0]
    batch = {name: jax.ShapeDtypeStruct((4, *np.shape(v)), np.asarray(v).dtype) for name, v in example.items()}
    keys = jax.eval_shape(lambda: jax.random.split(KEY, 4))
    loss, _ = jax.eval_shape(task.loss, params, batch, keys)
    assert loss.shape == ()
    condition = task.condition(np.arange(4), None)
    outputs = jax.eval_shape(lambda *a: task.sample(*a, sample_options(config.sample)), params, condition, keys)
    field = "image" if module is digits else "tokens"
    assert outputs[field].shape == batch[field].shape
    assert outputs["invalid"].shape == (4,)


VARIANTS = {
    "logistic": {"diffusion.loss": "logistic"},
    "softmax": {"bits.encoding": "one_hot", "diffusion.loss": "softmax"},
    "one-hot logistic": {"bits.encoding": "one_hot", "diffusion.loss": "logistic"},
    "factorised": {"bits.encoding": "uint_rand", "diffusion.head": "factorised_softmax", "network.out_size": 1},
    "continuous": {"bits.encoding": "continuous", "diffusion.prediction": "eps", "network.dropout": 0.3},
    "v": {"diffusion.prediction": "v"},
    "time t": {"diffusion.time_input": "t"},
    "no self-conditioning": {"diffusion.self_cond_rate": 0.0},
}


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.slow
def test_every_variant_of_the_paper_learns_and_samples(changes, make_config):
    config = resolved(make_config(**changes))
    task = make_task(config)
    dataset = data.load(config.data)
    batch = {name: np.stack([dataset.train[i][name] for i in range(16)]) for name in ("image", "label")}
    optimizer = optax.adam(5e-3)

    @jax.jit
    def step(params, opt_state, keys):
        (loss, _), grads = jax.value_and_grad(task.loss, has_aux=True)(params, batch, keys)
        updates, opt_state = optimizer.update(grads, opt_state)
        return optax.apply_updates(params, updates), opt_state, loss

    params = jax.jit(task.init)(KEY)
    opt_state, losses = optimizer.init(params), []
    for i in range(40):
        params, opt_state, loss = step(params, opt_state, jax.random.split(jax.random.fold_in(KEY, i), 16))
        losses.append(float(loss))
    # On sixteen repeated images, the mean loss of 5 steps falls by far more than its noise.
    assert np.mean(losses[-5:]) < 0.85 * np.mean(losses[:5])
    options = sample_options(config.sample)
    condition = task.condition(np.arange(4), None)
    outputs = jax.jit(lambda *a: task.sample(*a, options))(params, condition, jax.random.split(KEY, 4))
    assert outputs["image"].shape == (4, 8, 8, 1)
    assert int(outputs["image"].max()) <= 16


def test_an_untrained_network_has_a_loss_of_one(small):
    _, task, _, batch = small
    loss, _ = jax.jit(task.loss)(jax.jit(task.init)(KEY), batch, jax.random.split(KEY, 8))
    assert float(loss) == pytest.approx(1.0, abs=1e-3)  # it outputs 0, and every bit is -1 or +1


@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_self_conditioning_widens_the_input_only_if_enabled(rate):
    config = digits.get_config()
    config.diffusion.self_cond_rate = rate
    params = jax.eval_shape(make_task(resolved(config)).init, KEY)
    assert params["params"]["conv_in"]["kernel"].shape[2] == (5 if rate == 0 else 10)


def test_samples_are_images_within_the_vocabulary(small):
    config, task, params, _ = small
    condition = task.condition(np.arange(12), None)
    assert condition["label"].tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]
    options = sample_options(config.sample)
    keys = jax.random.split(KEY, 12)
    outputs = jax.jit(lambda *a: task.sample(*a, options))(params, condition, keys)
    assert outputs["histogram"].sum(1).tolist() == [64 * 5] * 12
    with_frames = jax.jit(lambda *a: task.sample(*a, options._replace(frames=2)))(params, condition, keys)
    assert with_frames["trajectory"].shape == (12, 2, 8, 8, 1)
    np.testing.assert_array_equal(with_frames["trajectory"][:, -1], with_frames["image"])
    np.testing.assert_array_equal(with_frames["image"], outputs["image"])
    assert outputs["image"].dtype == jnp.uint8
    assert outputs["image"].shape == (12, 8, 8, 1)
    assert int(outputs["image"].max()) <= 16
    assert 0 <= float(outputs["invalid"].min()) <= float(outputs["invalid"].max()) <= 1


@pytest.mark.slow
def test_guidance_adds_the_difference_from_the_null_label(small):
    config, task, params, _ = small
    keys = jax.random.split(KEY, 4)

    def draw(labels, **changes):
        options = sample_options(config.sample, steps=1, **changes)
        return np.asarray(task.sample(params, task.condition(np.arange(4), labels), keys, options)["image"])

    null = draw((-1,))
    np.testing.assert_array_equal(draw((3,), guidance=-1.0), null)  # cond - (cond - uncond)
    assert (draw((3,)) != null).any()


class _Counting(nn.Module):
    """A network that counts how often it is traced and records the features it receives."""

    features: int = 4

    def setup(self):
        self.out = nn.Dense(self.features)

    def __call__(self, x, time, label=None, dropout_keys=None):
        _RECEIVED.append(label)
        return self.out(x)


_RECEIVED = []


def test_trained_guidance_takes_one_evaluation_per_step():
    config = resolved(mixture.get_config())
    task = make_task(config, network=_Counting())
    keys = jax.random.split(KEY, 2)

    def evaluations(task, **changes):
        params = jax.jit(task.init)(KEY)
        _RECEIVED.clear()
        task.sample(params, {}, keys, sample_options(config.sample, steps=1, **changes))
        return len(_RECEIVED)

    once = evaluations(task)
    assert evaluations(task, self_guidance=3.0) == 2 * once
    config.diffusion.trained_guidance = 5.0
    task = make_task(config, network=_Counting())
    assert evaluations(task, self_guidance=3.0) == once
    np.testing.assert_allclose(_RECEIVED[-1], np.full((2, 1), np.log(3.0)), rtol=1e-6)
    assert evaluations(task) == once
    np.testing.assert_array_equal(_RECEIVED[-1], np.zeros((2, 1)))  # weight 1: no guidance
    with pytest.raises(UsageError, match=r"self_guidance is 6.0; the model was trained with weights from 0.5 to 5"):
        evaluations(task, self_guidance=6.0)


@pytest.mark.parametrize(
    ("rate", "changes", "message"),
    [
        (0.0, {"momentum": 0.5}, "momentum is 0.5; it requires a model with self-conditioning"),
        (0.5, {"momentum": 0.5, "self_guidance": 3.0}, "so momentum has no effect"),
    ],
)
def test_momentum_without_effect_is_refused(rate, changes, message):
    config = resolved(digits.get_config())
    config.diffusion.self_cond_rate = rate
    task = make_task(config, network=_Counting())
    with pytest.raises(UsageError, match=message):
        task.sample({}, {}, jax.random.split(KEY, 2), sample_options(config.sample, steps=1, **changes))


def test_edms_weight_requires_the_prediction_x0():
    config = resolved(digits.get_config())
    config.diffusion.update(weight="edm", prediction="v")
    with pytest.raises(UsageError, match=r"weight is 'edm', which requires the prediction x0, not 'v'"):
        make_task(config)


def test_the_error_of_a_model_trained_with_guidance_is_that_of_its_plain_estimate():
    config = resolved(digits.get_config())
    config.diffusion.trained_guidance = 5.0
    task = make_task(config, network=_Counting(features=5))
    batch = {"image": np.zeros((4, 8, 8, 1), np.int32), "label": np.arange(4)}
    params, keys = jax.jit(task.init)(KEY), jax.random.split(KEY, 4)
    _RECEIVED.clear()
    error, gamma_t = task.errors(params, batch, keys)
    assert error.shape == gamma_t.shape == (4,)
    assert len(_RECEIVED) == 2  # with and without an estimate, but no pass for guidance
    assert all(label.shape[1] == 11 and not label[:, 10].any() for label in _RECEIVED)
    _RECEIVED.clear()
    task.loss(params, batch, keys)
    assert len(_RECEIVED) == 3
    assert _RECEIVED[-1][:, 10].all()


def test_a_model_trained_with_guidance_receives_its_weight(make_config):
    config = resolved(make_config(**{"diffusion.trained_guidance": 3.0}))
    task = make_task(config)
    params = jax.tree.map(lambda p: p + 0.1 * jax.random.normal(KEY, p.shape), jax.jit(task.init)(KEY))
    arrays, keys = task.condition(np.arange(4), (3,)), jax.random.split(KEY, 4)

    def draw(weight):
        options = sample_options(config.sample, steps=1, self_guidance=weight)
        return np.asarray(jax.jit(lambda keys: task.sample(params, arrays, keys, options)["image"])(keys))

    np.testing.assert_array_equal(draw(0.0), draw(1.0))
    assert (draw(0.0) != draw(3.0)).any()
    batch = {"image": draw(0.0), "label": np.full(4, 3, np.int32)}
    loss, gradient = jax.jit(jax.value_and_grad(lambda p: task.loss(p, batch, keys)[0]))(params)
    assert np.isfinite(float(loss))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_token_evaluation_separates_network_and_sampler_errors():
    config = resolved(mixture.get_config())
    task = make_task(config)
    dataset = data.load(config.data)
    tokens = np.stack([dataset.test[i]["tokens"] for i in range(5000)])
    options = sample_options(config.sample, steps=20)
    scores = task.evaluate({"tokens": tokens, "invalid": np.zeros(5000), "histogram": HISTOGRAM}, dataset, options)
    # Real samples in place of the network's score the floor, up to the spread of both sets of samples.
    assert scores["tv"].value < 1.4 * scores["tv_floor"].value
    assert scores["tv_oracle"].value < 1.5 * scores["tv_floor"].value
    # The test set is made of perfect samples of the known distribution: its distance has the expected value, about
    # 0.062 for 5,000 samples, with a standard deviation of about 0.004.
    assert scores["known_tv"].value == pytest.approx(0.062, abs=0.016)
    assert scores["known_tv_floor"].value == pytest.approx(0.062, abs=0.003)
    uniform = np.random.RandomState(0).randint(0, 16, (5000, 2))
    scores = task.evaluate({"tokens": uniform, "invalid": np.zeros(5000), "histogram": HISTOGRAM}, dataset, options)
    assert scores["tv"].value > 0.5
    assert scores["known_tv"].value > 0.5


def test_long_sequences_are_compared_position_by_position():
    rng = np.random.RandomState(0)
    source = data.dataset.Arrays({"tokens": rng.randint(0, 16, (5000, 6)).astype(np.int32)})
    dataset = data.Dataset("tokens", source, source, (6,), 16, 0, (), "random tokens")
    config = mixture.get_config()
    config.data.update(length=6, vocab_size=16, num_classes=0)
    outputs = {"tokens": rng.randint(0, 16, (5000, 6)), "invalid": np.zeros(5000), "histogram": HISTOGRAM}
    scores = make_task(config).evaluate(outputs, dataset, sample_options(config.sample))
    assert 0 < scores["marginal_tv"].value < 0.05
    assert scores["marginal_tv_real"].value == 0


def test_image_evaluation_distinguishes_real_images_noise_and_copies():
    config = resolved(digits.get_config())
    task, dataset = make_task(config), data.load(config.data)
    options = sample_options(config.sample)

    def scores(source, count):
        outputs = data.dataset.stack(source, count) | {"invalid": np.zeros(count), "histogram": HISTOGRAM}
        return {name: score.value for name, score in task.evaluate(outputs, dataset, options).items()}

    real = scores(dataset.test, 359)
    assert real["frechet_pixels"] == pytest.approx(real["frechet_pixels_real"])
    assert real["classifier_accuracy"] == real["classifier_accuracy_real"] > 0.98
    assert real["copies"] == real["near_copies"] == 0
    copied = scores(dataset.train, 400)
    assert copied["copies"] == copied["near_copies"] == 1
    rng = np.random.RandomState(0)
    noise = {"image": rng.randint(0, 17, (400, 8, 8, 1)), "label": np.arange(400) % 10, "invalid": np.full(400, 0.25)}
    noise["histogram"] = HISTOGRAM
    result = task.evaluate(noise, dataset, options)
    assert result["invalid_codes"].value == 0.25
    assert result["frechet_pixels"].value > 20 * real["frechet_pixels_real"]
    assert result["classifier_accuracy"].value < 0.3


def test_evaluation_of_too_few_images_omits_scores(make_config):
    config = resolved(make_config())
    few = data.dataset.Arrays({"image": np.zeros((1, 8, 8, 1), np.uint8), "label": np.zeros(1, np.int32)})
    dataset = data.load(config.data)._replace(train=few, test=data.dataset.Subset(few, []))
    outputs = {"image": np.zeros((3, 8, 8, 1), np.uint8), "label": np.zeros(3), "invalid": np.zeros(3)}
    scores = make_task(config).evaluate(outputs | {"histogram": HISTOGRAM}, dataset, sample_options(config.sample))
    assert set(scores) == {"invalid_codes", "sharp_bits", "copies"}
    assert scores["copies"].value == 1


def test_copies_are_searched_for_among_the_first_training_images(monkeypatch):
    train = data.dataset.Arrays({"image": np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1)})
    samples = np.stack([train[3]["image"], train[1]["image"], np.zeros((4, 4, 1), np.uint8)])
    score = image_scores._copies(samples.astype(np.int32), train)["copies"]
    assert (score.value, score.about) == (2 / 3, "fraction of samples equal to one of 4 training images")
    monkeypatch.setattr(image_scores, "_COPY_LIMIT", 2)
    assert image_scores._copies(samples, train)["copies"].value == 1 / 3


def test_the_codes_that_latents_use_are_counted():
    used = latent_scores({"latents": np.array([[0, 3], [1, 3], [2, 3]])})["codes"]
    assert used.value == 2
    assert latent_scores({}) == latent_scores({"latents": np.array([[0, -1]])}) == {}


def test_parameter_shapes_are_known_without_weights():
    config = resolved(digits.get_config())
    shapes = jax.eval_shape(make_task(config).init, KEY)
    assert sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes)) > 100_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "audio"}, "unknown task .* 'audio'; valid names are: images, tokens"),
        ({"bits.encoding": "grey"}, "encoding is 'grey'; it must be one of 'uint', 'gray'"),
        ({"data.vocab_size": 1}, "vocab_size is 1"),
        ({"data.image_size": 0}, "does not state the sizes of image"),
        ({"diffusion.prediction": "noise"}, "prediction is 'noise'; it must be one of 'x0', 'eps', 'v'"),
        ({"diffusion.schedule": "cosin"}, "diffusion.schedule is 'cosin'; it must be one of 'cosine'"),
        ({"diffusion.label_dropout": 1.5}, "label_dropout is 1.5"),
        ({"diffusion.loss": "l1"}, "loss is 'l1'; it must be one of 'l2', 'logistic', 'softmax'"),
        ({"diffusion.loss": "softmax"}, "loss is 'softmax', which the encoding 'uint' does not support"),
        (
            {"diffusion.loss": "logistic", "diffusion.prediction": "eps"},
            "is 'eps'; the logistic .* 'x0'",
        ),
        (
            {"diffusion.head": "factorised_softmax", "diffusion.loss": "logistic"},
            "head is 'factorised_softmax'; the logistic loss requires linear",
        ),
        ({"diffusion.time_input": "sigma"}, "time_input is 'sigma'; it must be one of 'gamma', 't'"),
        ({"diffusion.lag": 2.0}, "lag is 2.0; it must be 0, or above 0 with a 'transformer'"),
        ({"diffusion.trained_guidance": 0.5}, "trained_guidance is 0.5; it must be 0, or above 1 with prediction x0"),
        ({"network.name": "resnet"}, "unknown network 'resnet'"),
        ({"blocks.size": 4}, "blocks.size is 4; it must be 1 unless config.task is 'blocks'"),
        ({"latents.kl": 0.1}, r"latents.kl is 0.1; it must be 0.0 with config.latents.count 0$"),
        ({"latents.route": "modulation"}, "latents.route is 'modulation'; it must be 'attention' with config.latents"),
        ({"diffusion.schedule": "measured"}, "there are no measured levels: run bitdiff.schedule on a trained run"),
    ],
)
def test_bad_configs_are_reported(changes, message):
    config = resolved(digits.get_config())
    config.update_from_flattened_dict(changes)
    with pytest.raises(UsageError, match=message):
        make_task(config)


def test_bad_conditions_are_reported(small):
    config, task, params, _ = small
    with pytest.raises(UsageError, match=r"labels \[12\] are not among the 10 classes"):
        task.condition(np.arange(3), (1, 12))
    config = config.copy_and_resolve_references()
    config.diffusion.label_dropout = 0.0
    without = make_task(config)
    with pytest.raises(UsageError, match="label -1"):
        without.condition(np.arange(3), (-1,))
    options = sample_options(config.sample, guidance=1.0)
    with pytest.raises(UsageError, match=r"guidance is 1.0; it requires a model trained with .*label_dropout"):
        without.sample(params, {"label": jnp.zeros(2, int)}, jax.random.split(KEY, 2), options)
    config.data.num_classes = 0
    with pytest.raises(UsageError, match="labels were given, but the model is not class-conditional"):
        make_task(config).condition(np.arange(3), (1,))
