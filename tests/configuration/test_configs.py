"""Every published row builds at full size and, when shrunk, trains two steps on mocked data."""

import math

import jax
import pytest

from bitdiff import data
from bitdiff.configs import cifar10, expressions, imagenet64, imagenet64_disco, photos, verses
from bitdiff.tasks import make_task
from bitdiff.training.loop import Progress
from bitdiff.training.trainer import train

PUBLISHED = [(module, variant) for module in (cifar10, imagenet64) for variant in module.VARIANTS]


def parameters(config):
    shapes = jax.eval_shape(make_task(config).init, jax.random.key(0))
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("module", "variant", "count"),
    [
        (cifar10, "uint_uncond", 52_017_432),
        (cifar10, "uint_cond", 52_027_672),
        (cifar10, "uint_rand_uncond", 52_159_488),
        (cifar10, "continuous_uncond", 51_872_259),
        (imagenet64, "uint_cond", 247_189_464),
    ],
)
def test_parameter_counts_match_the_official_ones(module, variant, count):
    assert parameters(module.get_config(variant)) == count


@pytest.mark.parametrize(
    ("module", "baseline", "bits"), [(verses, 1_869_264, 1_815_040), (expressions, 346_198, 878_614)]
)
def test_parameter_counts_of_text_models_are_those_in_the_document(module, baseline, bits):
    assert parameters(module.get_config("autoregressive")) == baseline
    assert parameters(module.get_config("blocks")) == bits


@pytest.mark.parametrize(("module", "variant"), PUBLISHED, ids=lambda v: v if isinstance(v, str) else v.__name__)
@pytest.mark.slow
def test_published_rows_build_at_full_size(module, variant):
    config = module.get_config(variant)
    task = make_task(config)
    params = jax.eval_shape(task.init, jax.random.key(0))
    size = config.data.image_size
    batch = {
        "image": jax.ShapeDtypeStruct((2, size, size, 3), "uint8"),
        "label": jax.ShapeDtypeStruct((2,), "int32"),
    }
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 2))
    loss, _ = jax.eval_shape(task.loss, params, batch, keys)
    assert loss.shape == ()
    assert variant in module.__doc__ or "*_uncond" in module.__doc__


def shrink(config, steps=2):
    config.network.update(dim=8, blocks=1, multipliers=(1,), attention_resolutions=(), head_dim=8)
    config.train.update(steps=steps, batch_size=8, log_every_steps=1, sample_every_steps=0)
    config.sample.update(batch_size=4, steps=2)
    config.checkpoint.every_steps = steps
    return config


@pytest.fixture
def mocked_tfds(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=16):
        yield


@pytest.mark.parametrize(("module", "variant"), PUBLISHED, ids=lambda v: v if isinstance(v, str) else v.__name__)
@pytest.mark.slow
def test_published_rows_train_two_steps_on_mocked_data(module, variant, mocked_tfds, tmp_path):
    config = shrink(module.get_config(variant))
    assert train(config, tmp_path) == Progress(2, None)
    assert config.data.builder in (tmp_path / "config.json").read_text()


@pytest.mark.slow
def test_disco_imagenet64_trains_two_steps_on_mocked_data(mocked_tfds, tmp_path):
    config = shrink(imagenet64_disco.get_config("disco"))
    config.data.image_size = 16
    config.network.attention_resolutions = (16,)
    config.latents.encoder.update(dim=8, layers=1, head_dim=8)
    config.latents.embed.update(dim=8, layers=1, head_dim=8)
    assert train(config, tmp_path) == Progress(2, None)


@pytest.mark.slow
def test_imagenet64_trains_on_mocked_imagenet_resized_data(mocked_tfds, tmp_path):
    config = shrink(imagenet64.get_config("gray_cond"))
    config.data.update(builder="imagenet_resized/64x64", resize="none")
    assert train(config, tmp_path) == Progress(2, None)
    assert "imagenet_resized/64x64" in (tmp_path / "config.json").read_text()


def test_the_photos_variants_build():
    for variant in ("uint", "gray", "uint_rand", "continuous"):
        config = photos.get_config(variant)
        assert parameters(data.resolve(config, data.load(config.data))) < 1_000_000
    with pytest.raises(ValueError, match=r"unknown variant 'grey' of configs/photos.py; its variants: uint, gray"):
        photos.get_config("grey")
