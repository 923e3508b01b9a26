"""Pictures as a condition: dropped in training at their rate, and used for guidance in sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.conditions import derive_keys
from bitdiff.conditions.pictures import flatten_captions, make_pictures
from bitdiff.configuration import base_config, sections
from bitdiff.data.dataset import Arrays
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task, sample_options

KEY = jax.random.key(0)


def tiny(**diffusion):
    config = base_config()
    config.task = "tokens"
    config.data.update(name="shapes", image_size=16, channels=3, length=4, captions=2, vocab_size=8, num_classes=0)
    config.encoder = sections.vit(patch=8, dim=16, layers=1, head_dim=8)
    config.network = sections.transformer(dim=16, layers=1, head_dim=8)
    config.diffusion.update(diffusion)
    return config


def batch(count):
    return {
        "image": jax.random.randint(KEY, (count, 16, 16, 3), 0, 256).astype(jnp.uint8),
        "tokens": jax.random.randint(KEY, (count, 2, 4), 0, 8),
    }


@pytest.mark.slow
def test_pictures_are_dropped_at_their_rate():
    pictures = make_pictures(tiny(image_dropout=0.3))
    params = jax.jit(lambda key: pictures.init(key)[1])(KEY)
    count = 2_000
    examples, keys = flatten_captions(batch(8), jax.random.split(KEY, count))
    examples["image"] = examples["image"][np.arange(count) % 8]
    context = jax.jit(lambda: pictures.observe(params, examples, derive_keys(keys)).context)()
    assert context.shape[0] == count  # once per picture, not per caption
    dropped = np.asarray((context == 0).all(axis=(1, 2)))
    assert abs(dropped.mean() - 0.3) < 4 * np.sqrt(0.3 * 0.7 / count)  # four standard errors
    never = make_pictures(tiny()).observe(params, batch(4), derive_keys(jax.random.split(KEY, 8))).context
    assert not (never == 0).all(axis=(1, 2)).any()


@pytest.mark.slow
def test_guidance_is_the_difference_from_the_dropped_picture():
    config = tiny(image_dropout=0.1)
    task = make_task(config)
    params = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(KEY, a.shape), jax.jit(task.init)(KEY))
    keys = jax.random.split(KEY, 4)
    images = [Arrays({"image": np.asarray(batch(4)["image"])}), Arrays({"image": np.zeros((1, 16, 16, 3), np.uint8)})]

    def draw(examples, guidance):
        options = sample_options(config.sample, steps=1, image_guidance=guidance)
        condition = task.condition(np.arange(4), None, examples)
        return np.asarray(task.sample(params, condition, keys, options)["histogram"])

    # With weight -1, the output is cond - (cond - uncond) = uncond, which does not depend on the pictures.
    np.testing.assert_array_equal(draw(images[0], -1.0), draw(images[1], -1.0))
    assert (draw(images[0], 0.0) != draw(images[1], 0.0)).any()
    assert (draw(images[0], 2.0) != draw(images[0], 0.0)).any()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (tiny(), "image_guidance is 1.0; it requires a model trained with config.diffusion.image_dropout above 0"),
        (tiny(image_dropout=1.0), "image_dropout is 1.0; it must be a finite number of at least 0 and below 1"),
    ],
)
def test_guidance_without_dropout_is_refused(config, message):
    def use():
        task = make_task(config)
        options = sample_options(config.sample, steps=1, image_guidance=1.0)
        condition = task.condition(np.arange(2), None)
        return task.sample(jax.jit(task.init)(KEY), condition, jax.random.split(KEY, 2), options)

    with pytest.raises(UsageError, match=message):
        jax.eval_shape(use)


def test_image_dropout_requires_pictures(make_config):
    with pytest.raises(UsageError, match=r"image_dropout is 0.1, but config.encoder is empty"):
        make_task(make_config(**{"diffusion.image_dropout": 0.1}))
