"""A small convolutional classifier of images, whose features and predictions judge generated images."""

import hashlib
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import traverse_util

from bitdiff.runtime import files
from bitdiff.runtime.errors import UsageError

_WIDTHS = (32, 64, 128)  # channels of each convolution; all but the first halve the resolution
_FEATURES = 64
_BATCH = 128
_LEARNING_RATE = 2e-3
_DROPOUT = 0.3


class ImageClassifier(nn.Module):
    """Three convolutions and two dense layers: images float32 [B, H, W, C] -> (features [B, 64], logits)."""

    num_classes: int

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """`train` enables dropout, with the 'dropout' key."""
        for i, width in enumerate(_WIDTHS):
            x = nn.relu(nn.Conv(width, (3, 3), strides=1 if i == 0 else 2)(x))
        x = nn.Dropout(_DROPOUT, deterministic=not train)(x.reshape(len(x), -1))
        features = nn.relu(nn.Dense(_FEATURES)(x))
        return features, nn.Dense(self.num_classes)(features)


class Trained(NamedTuple):
    """A trained classifier.

    variables: those of `ImageClassifier`.
    shape: (H, W, C) of its images.
    num_classes: the number of classes.
    vocab_size: values of a pixel channel.
    about: the data, epochs, seed and test accuracy, as plain JSON.
    sha256: of the weights.
    """

    variables: Any
    shape: tuple[int, int, int]
    vocab_size: int
    num_classes: int
    about: dict[str, Any]
    sha256: str

    @property
    def name(self) -> str:
        """A short name that differs for different weights."""
        return f"classifier {self.sha256[:8]}"


def train(
    images: np.ndarray,
    labels: np.ndarray,
    *,
    vocab_size: int,
    num_classes: int,
    epochs: int,
    seed: int,
    progress: Callable[[int], object],
) -> Any:
    """Trains a classifier with Adam and a cosine schedule; the order of images and the weights depend on the seed.

    Args:
      images: uint8 [N, H, W, C] below vocab_size, N >= 1.
      labels: int [N] below num_classes.
      vocab_size: values of a pixel channel.
      num_classes: the number of classes.
      epochs: passes over the images.
      seed: of the weights, the order and dropout.
      progress: called with the number of images of each finished batch.

    Returns:
      The variables of `ImageClassifier`.
    """
    model, batch = ImageClassifier(num_classes), min(_BATCH, len(images))
    steps = epochs * (len(images) // batch)
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, steps))
    init_key, dropout_key = jax.random.split(jax.random.key(seed))
    variables = model.init(init_key, _scaled(jnp.asarray(images[:1]), vocab_size), train=False)
    state = variables, optimizer.init(variables)

    @partial(jax.jit, donate_argnums=0)
    def step(state, pixels, target, index):
        variables, moments = state

        def loss(variables):
            keys = {"dropout": jax.random.fold_in(dropout_key, index)}
            outputs: Any = model.apply(variables, _scaled(pixels, vocab_size), train=True, rngs=keys)
            return optax.softmax_cross_entropy_with_integer_labels(outputs[1], target).mean()

        updates, moments = optimizer.update(jax.grad(loss)(variables), moments, variables)
        return optax.apply_updates(variables, updates), moments

    rng, index = np.random.default_rng(seed), 0
    for _ in range(epochs):
        order = rng.permutation(len(images))
        for rows in np.split(order[: len(order) // batch * batch], len(order) // batch):
            state = step(state, images[rows], labels[rows], index)
            index += 1
            progress(batch)
    return jax.device_get(state[0])


def apply(classifier: Trained, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(features float32 [N, 64], logits float32 [N, classes]) of images uint8 [N, H, W, C]."""
    model, batch = ImageClassifier(classifier.num_classes), min(_BATCH, len(images))

    @jax.jit
    def evaluate(pixels):
        return model.apply(classifier.variables, _scaled(pixels, classifier.vocab_size), train=False)

    found = []
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        padded = np.concatenate([part, np.repeat(part[:1], batch - len(part), axis=0)])
        found.append([np.asarray(array)[: len(part)] for array in evaluate(padded)])
    features, logits = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    return features, logits


def describe(
    variables: Any, *, shape: tuple[int, int, int], vocab_size: int, num_classes: int, about: dict[str, Any]
) -> Trained:
    """A trained classifier with the hash of its weights."""
    digest = hashlib.sha256()
    for name, array in sorted(_flat(variables).items()):
        digest.update(name.encode() + np.ascontiguousarray(array, np.float32).tobytes())
    return Trained(variables, shape, vocab_size, num_classes, about, digest.hexdigest())


def save(path: Path, classifier: Trained) -> None:
    """Writes a classifier as an `.npz` file of plain arrays."""
    facts = {name: getattr(classifier, name) for name in ("shape", "vocab_size", "num_classes", "about", "sha256")}
    arrays: dict[str, Any] = {f"weights/{name}": array for name, array in _flat(classifier.variables).items()}
    arrays["facts"] = np.array(json.dumps(facts))
    files.write(path, lambda file: np.savez(file, **arrays))


def load(path: Path) -> Trained:
    """Reads what `save` wrote.

    Raises:
      UsageError: no such file, one that `save` did not write, or damaged weights.
    """
    arrays = files.read_arrays(path)
    try:
        facts = json.loads(str(arrays.pop("facts")))
        flat = {tuple(name.split("/")[1:]): array for name, array in arrays.items()}
        shape = (facts["shape"][0], facts["shape"][1], facts["shape"][2])
        sizes = {name: int(facts[name]) for name in ("vocab_size", "num_classes")}
        found = describe(traverse_util.unflatten_dict(flat), shape=shape, about=facts["about"], **sizes)
        expected = facts["sha256"]
    except (KeyError, ValueError, IndexError, TypeError) as error:
        raise UsageError(f"{path} was not written by bitdiff.train_judge ({error!r})") from error
    if found.sha256 != expected:
        raise UsageError(f"{path} is damaged: the hash of its weights is {found.sha256[:8]}, not {expected[:8]}")
    return found


def _scaled(pixels: jax.Array, vocab_size: int) -> jax.Array:
    return pixels.astype(jnp.float32) * (2.0 / (vocab_size - 1)) - 1.0


def _flat(variables: Any) -> dict[str, np.ndarray]:
    return {"/".join(path): np.asarray(array) for path, array in traverse_util.flatten_dict(variables).items()}
