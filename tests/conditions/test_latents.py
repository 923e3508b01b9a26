"""Discrete latents: their relaxation, the networks that attend to them, and the two stages of DisCo-Diff."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import entropy

from bitdiff import data
from bitdiff.conditions.latents import gumbel_softmax, kl_to_uniform
from bitdiff.configs import digits_disco, imagenet64_disco, toy_disco
from bitdiff.configuration import base_config, presets, sections
from bitdiff.data import gaussians
from bitdiff.diffusion import guidance, sampling, schedules
from bitdiff.metrics import plane_points
from bitdiff.networks import LatentEncoder, LatentTransformer
from bitdiff.networks.unet import UNet
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task, sample_options

KEY = jax.random.key(0)


def test_gumbel_softmax_draws_from_the_softmax():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.2]))
    keys = jax.random.split(KEY, 20_000)
    drawn = gumbel_softmax(jnp.broadcast_to(logits, (20_000, 1, 3)), keys, 1.0, hard=False)
    np.testing.assert_allclose(drawn.sum(-1), 1.0, atol=1e-5)
    fractions = np.bincount(np.argmax(drawn[:, 0], -1), minlength=3) / 20_000
    np.testing.assert_allclose(fractions, [0.5, 0.3, 0.2], atol=4 * 0.5 / np.sqrt(20_000))  # four standard errors
    cold = gumbel_softmax(jnp.broadcast_to(logits, (20_000, 1, 3)), keys, 1e-3, hard=False)
    assert np.mean(np.max(cold, -1) > 0.99) > 0.98


def test_with_two_values_gumbel_softmax_is_gumbel_sigmoid():
    """softmax((l + g) / T) over two values equals sigmoid((l_1 - l_0 + logistic noise) / T)."""
    keys = jax.random.split(KEY, 20_000)
    drawn = gumbel_softmax(jnp.broadcast_to(jnp.array([0.0, 0.7]), (20_000, 1, 2)), keys, 0.5, hard=False)[:, 0, 1]
    logistic = np.random.RandomState(0).logistic(size=20_000)
    expected = 1 / (1 + np.exp(-(0.7 + logistic) / 0.5))
    quantiles = np.linspace(0.05, 0.95, 19)
    np.testing.assert_allclose(np.quantile(drawn, quantiles), np.quantile(expected, quantiles), atol=0.03)


def test_straight_through_is_one_hot_with_the_relaxed_gradient():
    logits, keys = jax.random.normal(KEY, (4, 3, 5)), jax.random.split(KEY, 4)
    hard = gumbel_softmax(logits, keys, 0.7, hard=True)
    soft = gumbel_softmax(logits, keys, 0.7, hard=False)
    np.testing.assert_allclose(np.sort(np.asarray(hard), -1)[..., -1], 1.0, atol=1e-6)
    np.testing.assert_array_equal(np.argmax(hard, -1), np.argmax(soft, -1))
    weights = jax.random.normal(jax.random.key(1), logits.shape)
    grads = [jax.grad(lambda x, h=h: jnp.sum(weights * gumbel_softmax(x, keys, 0.7, hard=h)))(logits) for h in (0, 1)]
    np.testing.assert_allclose(*grads, atol=1e-6)


def test_an_examples_noise_does_not_depend_on_its_batch():
    logits, keys = jax.random.normal(KEY, (4, 3, 5)), jax.random.split(KEY, 4)
    together = gumbel_softmax(logits, keys, 1.0, hard=False)
    np.testing.assert_allclose(gumbel_softmax(logits[2:3], keys[2:3], 1.0, hard=False), together[2:3], atol=1e-6)


def test_the_divergence_from_uniform_latents_is_the_information_they_carry_at_most():
    q = np.array([[[0.5, 0.25, 0.25, 0.0], [0.25, 0.25, 0.25, 0.25]], [[1.0, 0.0, 0.0, 0.0], [0.5, 0.5, 0.0, 0.0]]])
    expected = [entropy(np.full(4, 0.25)) - entropy(q[0, 0]), 2 * np.log(4) - np.log(2)]
    np.testing.assert_allclose(kl_to_uniform(jnp.log(jnp.maximum(q, 1e-30))), expected, atol=1e-6)


def test_a_penalty_on_latents_is_added_to_the_loss():
    config = tiny_toy()
    params = jax.jit(make_task(config).init)(KEY)
    params["latents"]["encoder"]["logits"]["bias"] = jnp.arange(32.0)
    keys = jax.random.split(KEY, 4)

    def loss(weight):
        config.latents.kl = weight
        return jax.jit(make_task(config).loss)(params, batch(), keys)[0]

    once, twice = loss(0.1) - loss(0.0), loss(0.2) - loss(0.0)
    assert once > 0.1
    np.testing.assert_allclose(twice, 2 * once, rtol=1e-4)


def test_a_bag_ignores_the_order_of_tokens():
    encoder = LatentEncoder(2, 3, "bag", dim=16, layers=2)
    x = jax.nn.one_hot(jax.random.randint(KEY, (4, 6), 0, 9), 9)
    params = jax.jit(encoder.init)(KEY, x)
    apply = jax.jit(encoder.apply)
    np.testing.assert_allclose(apply(params, x[:, ::-1]), apply(params, x), atol=1e-5)
    assert np.abs(apply(params, x[:1]) - apply(params, x[1:2])).max() > 1e-3
    with pytest.raises(UsageError, match="is 'bag', which is for tokens; point requires"):
        make_task(tiny_toy(**{"encoder": sections.latent_encoder(kind="bag", dim=16, layers=2)}))


@pytest.mark.parametrize("kind", ["mlp", "vit", "bag"])
@pytest.mark.slow
def test_the_encoder_gives_logits_for_every_latent(kind):
    encoder = LatentEncoder(3, 7, kind, dim=16, layers=2, patch=4, head_dim=8)
    x = jax.random.uniform(KEY, (2, 8, 5) if kind == "bag" else (2, 8, 8, 1), minval=-1.0)
    params = jax.jit(encoder.init)(KEY, x)
    assert encoder.apply(params, x).shape == (2, 3, 7)
    grads = jax.jit(jax.grad(lambda p: jnp.sum(encoder.apply(p, x) ** 2)))(params)
    assert all(
        np.abs(leaf).max() > 0 for name, leaf in jax.tree_util.tree_leaves_with_path(grads) if "key" not in str(name)
    )


@pytest.mark.parametrize("layers", [0, 2])
def test_null_latents_carry_no_information(layers):
    module = LatentTransformer(3, 5, dim=8, layers=layers, head_dim=4)
    z = jax.nn.softmax(jax.random.normal(KEY, (2, 4, 3, 5)))
    params = module.init(KEY, z[0], jnp.zeros(4, bool))
    dropped = jnp.array([True, False, True, False])
    first, second = (module.apply(params, one, dropped) for one in z)
    np.testing.assert_allclose(first[dropped], second[dropped], atol=1e-6)
    np.testing.assert_allclose(first[0], first[2], atol=1e-6)
    assert np.abs(first[1] - second[1]).max() > 1e-3


def unet(**changes):
    return UNet(
        out_channels=1, dim=8, multipliers=(1, 2), blocks=1, attention_resolutions=(8, 4), head_dim=4, **changes
    )


@pytest.mark.slow
def test_each_latent_group_is_attended_to_at_one_upsampling_resolution():
    module = unet(context_groups=2)
    x, time, context = jnp.ones((1, 8, 8, 1)), jnp.ones(1), jax.random.normal(KEY, (1, 4, 6))
    params = jax.jit(module.init)(KEY, x, time, context=context)
    crosses = {name for name in params["params"] if name.endswith("_cross")}
    assert crosses == {f"up{stage}_block{i}_cross" for stage in (0, 1) for i in (0, 1)}
    everywhere = jax.eval_shape(lambda: unet().init(KEY, x, time, context=context))["params"]
    assert {name for name in everywhere if name.endswith("_cross")} == {
        name.replace("_attention", "_cross") for name in everywhere if name.endswith("_attention")
    }
    # Both groups affect the output, and each provides the keys and values of its own stage.
    params = jax.tree.map(lambda a: a + 0.1, params)
    grad = jax.jit(jax.grad(lambda c: jnp.sum(module.apply(params, x, time, context=c) ** 2)))(context)
    assert (np.abs(grad).max(-1) > 0).all()


@pytest.mark.slow
def test_the_unet_ignores_latents_at_initialization():
    module = unet().clone(multipliers=(1,), attention_resolutions=(8,))
    x, time, context = jnp.ones((2, 8, 8, 1)), jnp.ones(2), jax.random.normal(KEY, (2, 2, 4, 6))
    params = jax.jit(module.init)(KEY, x, time, context=context[0])
    # The last layer also starts near zero and would mask everything before it.
    params["params"]["conv_out"]["kernel"] += 0.1
    one, other = (jax.jit(module.apply)(params, x, time, context=c) for c in context)
    np.testing.assert_allclose(one, other, atol=1e-4)
    params["params"]["up0_block0_cross"]["attention"]["out"]["kernel"] += 0.1
    one, other = (jax.jit(module.apply)(params, x, time, context=c) for c in context)
    assert np.abs(one - other).max() > 1e-3


def test_unused_latents_and_bad_latent_options_are_refused():
    x, time, context = jnp.ones((1, 8, 8, 1)), jnp.ones(1), jnp.ones((1, 3, 6))
    with pytest.raises(UsageError, match="names none of the resolutions 8, 4"):
        unet().clone(attention_resolutions=(16,)).init(KEY, x, time, context=context)
    with pytest.raises(UsageError, match="3 latents in 2 groups"):
        unet(context_groups=2).init(KEY, x, time, context=context)
    config = digits_disco.get_config("disco")
    for field, value, message in (
        ("codes", 1, "count 4 and codes 1"),
        ("temperature", 0.0, "temperature is 0"),
        ("dropout", 1.0, "dropout is 1"),
    ):
        bad = config.copy_and_resolve_references()
        bad.latents[field] = value
        with pytest.raises(UsageError, match=message):
            make_task(bad)
    for part, field, value, message in (
        ("encoder", "layers", -3, r"encoder.layers is -3; it must be an integer from 1"),
        ("embed", "layers", -1, r"embed.layers is -1; it must be an integer from 0"),
        ("embed", "head_dim", 0, r"embed.head_dim is 0; it must be an integer from 1"),
    ):
        bad = config.copy_and_resolve_references()
        bad.latents[part][field] = value
        with pytest.raises(UsageError, match=message):
            make_task(bad)
    config.latents.encoder.kind = "resnet"
    with pytest.raises(UsageError, match=r"latents.encoder.kind is 'resnet'; it must be one of"):
        make_task(config)


def tiny(variant, **changes):
    config = digits_disco.get_config(variant)
    for part in (config, config.first) if config.first else (config,):
        if part.network.name == "unet":
            part.network.update(dim=8, head_dim=8, multipliers=(1,), attention_resolutions=(8,))
        part.latents.encoder.update(kind="vit", patch=2, dim=16, layers=1, head_dim=8)
        part.latents.embed.update(dim=8, layers=1, head_dim=8)
    if config.task == "prior":
        config.network.update(dim=16, layers=1, head_dim=8)
    config.update_from_flattened_dict(changes)
    return config


def tiny_toy(model=None, **latents):
    """The toy model with several latents, or a prior over them; it compiles quickly."""
    config = toy_disco.get_config("disco")
    config.network.update(dim=16, layers=2)
    config.latents.update(count=4, **latents)
    config.latents.encoder.update(dim=16, layers=2)
    config.latents.embed.update(dim=8)
    if model:
        presets.second_stage(config, model)
        config.network = sections.transformer(dim=16, layers=1, head_dim=8)
        config.prior.sample.steps = 0 if model == "autoregressive" else 5
    return config


def batch(count=4):
    return {
        "image": jax.random.randint(KEY, (count, 8, 8, 1), 0, 17).astype(jnp.uint8),
        "label": jnp.arange(count) % 10,
        "point": jax.random.normal(KEY, (count, 2)),
    }


@pytest.mark.parametrize("config", [tiny_toy(), tiny_toy(straight_through=False), tiny("bits_disco")])
@pytest.mark.slow
def test_the_loss_alone_trains_the_encoder(config):
    task = make_task(config)
    params = jax.tree.map(lambda a: a + 0.02, jax.jit(task.init)(KEY))  # moves the last layers away from zero
    grads, loss, (losses, t) = jax.jit(
        lambda p, *rest: (
            jax.grad(lambda p: task.loss(p, *rest)[0])(p),
            task.loss(p, *rest)[0],
            task.losses(p, *rest),
        )
    )(params, batch(), jax.random.split(KEY, 4))
    assert np.abs(grads["latents"]["encoder"]["logits"]["kernel"]).max() > 0
    assert np.abs(grads["latents"]["embed"]["embed"]["kernel"]).max() > 0
    assert losses.shape == t.shape == (4,)
    np.testing.assert_allclose(losses.mean(), loss, rtol=1e-5)


@pytest.mark.parametrize(
    "config", [tiny_toy(route="modulation"), tiny("bits_disco", **{"latents.route": "modulation"})]
)
@pytest.mark.slow
def test_latents_that_modulate_are_joined_to_the_label_and_dropped_as_zeros(config):
    task = make_task(config)
    params = jax.tree.map(lambda a: a + 0.02, jax.jit(task.init)(KEY))
    assert params["latents"].keys() == {"encoder"}
    keys = jax.random.split(KEY, 4)
    grads = jax.jit(jax.grad(lambda p: task.loss(p, batch(), keys)[0]))(params)
    assert np.abs(grads["latents"]["encoder"]["logits"]["kernel"]).max() > 0
    condition = task.condition(np.arange(3), None)
    zero, one = (condition | {"latents": jnp.full((3, 4), value)} for value in (0, 1))
    options = sample_options(config.sample, steps=2)
    sample = jax.jit(lambda condition: task.sample(params, condition, jax.random.split(KEY, 3), options))
    field = task.field
    assert (sample(zero)[field] != sample(one)[field]).any()
    guided = options._replace(latent_guidance=2.0)
    dropped = condition | {"latents": jnp.full((3, 4), -1)}
    np.testing.assert_array_equal(
        jax.jit(lambda c: task.sample(params, c, jax.random.split(KEY, 3), guided))(dropped)[field],
        sample(dropped)[field],
    )


def draw(config, task, params, condition, count=3, **changes):
    options = sample_options(config.sample, steps=2, **changes)
    return jax.jit(lambda *args: task.sample(*args, options))(params, condition, jax.random.split(KEY, count))


def test_a_first_stage_samples_from_examples_or_with_null_latents():
    config = tiny_toy()
    task = make_task(config)
    params = jax.jit(task.init)(KEY)
    toy = data.load(config.data)
    condition = task.condition(np.arange(3), None, toy.test)
    np.testing.assert_array_equal(condition["example"], [toy.test[i]["point"] for i in range(3)])
    outputs = draw(config, task, params, condition)
    assert outputs["latents"].shape == (3, 4)
    assert 0 <= outputs["latents"].min() <= outputs["latents"].max() < 8
    assert outputs["point"].shape == (3, 2)
    assert "example" not in outputs
    without = task.condition(np.arange(3), None)
    dropped = draw(config, task, params, without)
    np.testing.assert_array_equal(dropped["latents"], -1)
    # Latent guidance with weight w gives D(z) + w (D(z) - D(null)), which has no effect on null latents.
    guided = draw(config, task, params, without, latent_guidance=2.0)
    np.testing.assert_allclose(
        guided["point"], dropped["point"], rtol=1e-4
    )  # two programs, which may round differently
    assert (draw(config, task, params, condition, latent_guidance=2.0)["point"] != outputs["point"]).all()
    plain = tiny("plain")
    other = make_task(plain)
    with pytest.raises(UsageError, match="examples with point were given, but the model can only"):
        other.condition(np.arange(3), None, toy.test)
    with pytest.raises(UsageError, match=r"latent_guidance is 1.0; it requires a model conditioned on latents"):
        draw(plain, other, jax.eval_shape(other.init, KEY), other.condition(np.arange(3), None), latent_guidance=1.0)


@pytest.mark.parametrize("model", ["autoregressive", "bits"])
def test_a_second_stage_trains_only_its_prior_and_samples_end_to_end(model):
    config = tiny_toy(model)
    task = make_task(config)
    params = jax.jit(task.init)(KEY)
    grads = jax.jit(jax.grad(lambda p: task.loss(p, batch(), jax.random.split(KEY, 4))[0]))(params)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads["first"])) == 0
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(grads["prior"])) > 0
    assert task.frozen == ("first",)
    outputs = draw(config, task, params, task.condition(np.arange(3), None))
    assert outputs["point"].shape == (3, 2)
    assert 0 <= outputs["latents"].min() <= outputs["latents"].max() < 8


def test_a_bit_diffusion_prior_keeps_known_latents():
    config = tiny_toy("bits", codes=2)
    task = make_task(config)
    params = jax.jit(task.init)(KEY)
    known = np.array([[0, 1, -1, -1], [-1, 1, -1, 1]])
    condition = task.condition(np.arange(40), None, data.dataset.Arrays({"known": known}))
    drawn = np.asarray(draw(config, task, params, condition, count=40)["latents"])
    for i in range(40):
        np.testing.assert_array_equal(drawn[i][known[i % 2] >= 0], known[i % 2][known[i % 2] >= 0])
    assert len(np.unique(drawn[::2], axis=0)) > 1  # the other positions are drawn
    with pytest.raises(UsageError, match="they must have shape"):
        task.condition(np.arange(2), None, data.dataset.Arrays({"known": np.zeros((2, 5), int)}))
    config.diffusion.prediction = "v"
    other = make_task(config)
    with pytest.raises(UsageError, match="require a model with prediction 'x0', not 'v'"):
        draw(config, other, params, condition, count=40)
    config = tiny_toy("autoregressive")
    other = make_task(config)
    with pytest.raises(UsageError, match="an autoregressive model cannot complete known values"):
        other.condition(np.arange(2), None, data.dataset.Arrays({"known": np.zeros((2, 4), int)}))


def test_labels_reach_both_stages():
    """A prior trained without the null label refuses it; a first stage takes labels together with examples."""
    with pytest.raises(UsageError, match="label -1"):
        make_task(tiny("prior")).condition(np.arange(2), (-1,))
    digits = data.load(digits_disco.get_config().data)
    condition = make_task(tiny("disco")).condition(np.arange(3), (3,), digits.test)
    assert condition["label"].tolist() == [3, 3, 3]
    assert "example" in condition


@pytest.mark.parametrize(
    ("variant", "changes", "message"),
    [
        ("plain", {"sample.restarts": (4, 2, 0.1, 1.0)}, "a tuple of"),
        ("plain", {"sample.restarts": ((4.5, 2, 0.1, 1.0),)}, "must be integers"),
        ("plain", {"sample.churn": (1.0, 2.0)}, "churn.* must be a tuple of 3 numbers, 0 or more"),
        ("plain", {"diffusion.time_input": "t"}, "time_input gamma"),
        ("plain", {"diffusion.sigma_data": -1.0}, "it must be a finite number, 0 or more"),
        ("disco", {"latents.groups": 2}, "in 2 groups"),
        ("bits", {"network": sections.mlp()}, "which is for points"),
    ],
)
def test_meaningless_options_are_refused(variant, changes, message):
    config = tiny(variant)
    for name, value in changes.items():
        with config.ignore_type():
            config.update_from_flattened_dict({name: value}) if name != "network" else setattr(config, name, value)

    def use():
        sample_options(config.sample)
        task = make_task(config)
        return task.loss(task.init(KEY), batch(), jax.random.split(KEY, 4))

    with pytest.raises(UsageError, match=message):
        jax.eval_shape(use)


def test_points_require_edm_with_an_mlp():
    config = toy_disco.get_config("disco")
    config.diffusion.sigma_data = 0.0
    with pytest.raises(UsageError, match="require an 'mlp' with EDM"):
        make_task(config)
    config = toy_disco.get_config("disco")
    config.latents.encoder.kind = "vit"
    with pytest.raises(UsageError, match=r"is 'vit', which is for images; \w+ requires 'mlp'"):
        make_task(config)
    config = toy_disco.get_config("disco")
    config.latents.groups = 2
    with pytest.raises(UsageError, match="only a 'unet' supports more than 1"):
        make_task(config)


def test_infilling_with_the_exact_denoiser_draws_from_the_conditional():
    """The data are pairs of equal bits with one bit known, so the other must equal it."""

    def denoise(x_t, x0_prev, gamma_t):
        g = gamma_t[:, None]
        snr = jnp.sqrt(g) / jnp.maximum(1 - g, 1e-6)
        return jnp.tanh(jnp.clip(snr * (x_t[:, :1] + x_t[:, 1:]), -20, 20)) * jnp.ones((1, 2))

    known = jnp.where(jnp.arange(200)[:, None] % 2 == 0, 1.0, -1.0) * jnp.ones((1, 2))
    mask = jnp.broadcast_to(jnp.array([True, False]), known.shape)
    held = guidance.hold_known(denoise, known, mask, jax.random.split(KEY, 200))
    drawn = sampling.sample(held, jax.random.key(1), known.shape, gamma=schedules.cosine(), steps=100, sampler="ddpm")
    np.testing.assert_array_equal(drawn[:, 0], known[:, 0])
    assert np.mean(np.sign(drawn[:, 1]) == known[:, 1]) > 0.95


@pytest.mark.slow
def test_a_network_attends_to_latents_and_pictures_together():
    config = base_config()
    config.task = "tokens"
    config.data.update(name="shapes", image_size=16, channels=3, length=4, captions=2, vocab_size=8, num_classes=0)
    config.encoder = sections.vit(patch=8, dim=16, layers=1, head_dim=8)
    config.network = sections.transformer(dim=16, layers=1, head_dim=8)
    config.latents.update(count=2, codes=4)
    config.latents.encoder = sections.latent_encoder(kind="mlp", dim=16, layers=2)
    config.latents.embed = sections.latent_transformer(dim=16, layers=0)
    task = make_task(config)
    params = jax.tree.map(lambda a: a + 0.02, jax.jit(task.init)(KEY))
    rows = {"image": jnp.ones((2, 16, 16, 3), jnp.uint8), "tokens": jnp.ones((2, 2, 4), jnp.int32)}
    grads = jax.jit(jax.grad(lambda p: task.loss(p, rows, jax.random.split(KEY, 2))[0]))(params)
    for part in (grads["encoder"], grads["latents"]["encoder"]):
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(part)) > 0
    config.latents.embed.dim = 8
    with pytest.raises(UsageError, match="the same width"):
        make_task(config)


@pytest.mark.parametrize("variant", [*imagenet64_disco.FIRST, *imagenet64_disco.SECOND])
@pytest.mark.slow
def test_the_imagenet_models_have_the_papers_size(variant):
    task = make_task(imagenet64_disco.get_config(variant))
    params = jax.eval_shape(task.init, KEY)
    rows = {"image": jax.ShapeDtypeStruct((2, 64, 64, 3), jnp.uint8), "label": jax.ShapeDtypeStruct((2,), jnp.int32)}
    keys = jax.eval_shape(lambda: jax.random.split(KEY, 2))
    loss, _ = jax.eval_shape(task.loss, params, rows, keys)
    assert loss.shape == ()
    first = params.get("first", params)
    kernel = first["params"]["down3_block0"]["conv_in"]["kernel"]
    assert kernel.shape[-1] == 768
    if "latents" in first:
        assert first["latents"]["encoder"]["ViT_0"]["mlp_in11"]["kernel"].shape == (768, 3072)


def test_the_plane_point_metrics_match_known_answers():
    modes, spread = gaussians.MODES, gaussians.SPREAD
    true = gaussians.draw(1_000, seed=3)
    assert plane_points.outliers(true, modes, spread) < 2e-3  # exp(-8) = 3.4e-4 for an isotropic Gaussian
    assert plane_points.outliers(np.zeros((5, 2)), modes, spread) == 1.0
    assert plane_points.mode_tv(true, modes) < 1e-3
    assert plane_points.mode_tv(np.repeat(modes[:4], 5, axis=0), modes) == pytest.approx(0.5)
    np.testing.assert_allclose(
        plane_points.wasserstein_2(true[:400] + np.array([0.3, 0.4]), true[:400]), 0.5, atol=1e-6
    )
    angle = np.linspace(0, 1, 200)
    for radius in (0.5, 2.0):
        circle = radius * np.stack([np.cos(angle), np.sin(angle)], axis=-1)[None]
        np.testing.assert_allclose(plane_points.curvature(circle), 1 / radius, rtol=1e-3)
    assert plane_points.curvature(np.linspace([0, 0], [1, 2], 50)[None]).max() < 1e-6


def test_the_toy_data_set_matches_the_paper():
    toy = data.load(toy_disco.get_config().data)
    drawn = np.stack([toy.train[i]["point"] for i in range(len(toy.train))])
    assert drawn.shape == (8_000, 2)
    for i in range(8):
        np.testing.assert_allclose(drawn[i::8].mean(0), gaussians.MODES[i], atol=0.03)  # 4.7 standard errors
        np.testing.assert_allclose(drawn[i::8].std(0), 0.2, atol=0.02)
