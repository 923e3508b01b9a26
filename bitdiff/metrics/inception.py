"""Inception-v3 as used by FID: the TensorFlow graph of 2015-12-05, with its own pooling and 1008 logits.

It differs from Inception-v3 in other libraries: average pooling excludes the padding from the mean, the last block uses
max pooling, BatchNorm's epsilon is 1e-3, and there are 1008 logits.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

_SIZE = 299
_PRECISION = jax.lax.Precision.HIGHEST  # bfloat16 or TF32 products would change features by about 1%


class Features(NamedTuple):
    """pool: float32 [B, 2048], the features for FID, KID and precision; logits: float32 [B, 1008], without bias."""

    pool: jax.Array
    logits: jax.Array


class ConvBn(nn.Module):
    """Convolution without bias, BatchNorm with stored statistics, ReLU."""

    features: int
    kernel: tuple[int, int]
    stride: int = 1
    padding: str = "SAME"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(
            self.features,
            self.kernel,
            (self.stride, self.stride),
            padding=self.padding,
            use_bias=False,
            precision=_PRECISION,
            name="conv",
        )(x)
        return nn.relu(nn.BatchNorm(use_running_average=True, epsilon=1e-3, name="bn")(x))


class Branches(nn.Module):
    """Parallel branches, concatenated.

    Attributes:
      branches: the layers (name, features, kernel) of each branch; a branch may end in a list of parallel layers.
      stride: 1, or 2 for a block that halves the resolution: its last layers and its pool have that stride.
      pool: 'mean' or 'max' before the layer `branch_pool` with pool_features, or only 'max' if pool_features is 0.
    """

    branches: Sequence[Sequence]
    pool: str
    pool_features: int
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        def layer(h, name, features, kernel, last):
            if last and self.stride == 2:
                return ConvBn(features, kernel, 2, "VALID", name=name)(h)
            return ConvBn(features, kernel, name=name)(h)

        outputs = []
        for branch in self.branches:
            h = x
            for i, item in enumerate(branch):
                if isinstance(item[0], str):
                    h = layer(h, *item, last=i == len(branch) - 1)
                else:
                    h = jnp.concatenate([layer(h, *part, last=False) for part in item], axis=-1)
            outputs.append(h)
        if self.stride == 2:
            outputs.append(nn.max_pool(x, (3, 3), (2, 2)))
        else:
            pool = nn.max_pool if self.pool == "max" else _mean_pool
            h = pool(x, (3, 3), (1, 1), "SAME")
            outputs.append(ConvBn(self.pool_features, (1, 1), name="branch_pool")(h))
        return jnp.concatenate(outputs, axis=-1)


def _mean_pool(x, window, strides, padding):
    return nn.avg_pool(x, window, strides, padding, count_include_pad=False)


def _block_a(pool_features: int, name: str) -> Branches:
    return Branches(
        (
            (("branch1x1", 64, (1, 1)),),
            (("branch5x5_1", 48, (1, 1)), ("branch5x5_2", 64, (5, 5))),
            (("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))),
        ),
        "mean",
        pool_features,
        name=name,
    )


def _block_c(width: int, name: str) -> Branches:
    return Branches(
        (
            (("branch1x1", 192, (1, 1)),),
            (("branch7x7_1", width, (1, 1)), ("branch7x7_2", width, (1, 7)), ("branch7x7_3", 192, (7, 1))),
            (
                ("branch7x7dbl_1", width, (1, 1)),
                ("branch7x7dbl_2", width, (7, 1)),
                ("branch7x7dbl_3", width, (1, 7)),
                ("branch7x7dbl_4", width, (7, 1)),
                ("branch7x7dbl_5", 192, (1, 7)),
            ),
        ),
        "mean",
        192,
        name=name,
    )


def _block_e(pool: str, name: str) -> Branches:
    return Branches(
        (
            (("branch1x1", 320, (1, 1)),),
            (
                ("branch3x3_1", 384, (1, 1)),
                (("branch3x3_2a", 384, (1, 3)), ("branch3x3_2b", 384, (3, 1))),
            ),
            (
                ("branch3x3dbl_1", 448, (1, 1)),
                ("branch3x3dbl_2", 384, (3, 3)),
                (("branch3x3dbl_3a", 384, (1, 3)), ("branch3x3dbl_3b", 384, (3, 1))),
            ),
        ),
        pool,
        192,
        name=name,
    )


class Inception(nn.Module):
    """float32 [B, 299, 299, 3] in [-1, 1] -> Features."""

    @nn.compact
    def __call__(self, x: jax.Array) -> Features:
        x = ConvBn(32, (3, 3), 2, "VALID", name="Conv2d_1a_3x3")(x)
        x = ConvBn(32, (3, 3), padding="VALID", name="Conv2d_2a_3x3")(x)
        x = ConvBn(64, (3, 3), name="Conv2d_2b_3x3")(x)
        x = nn.max_pool(x, (3, 3), (2, 2))
        x = ConvBn(80, (1, 1), name="Conv2d_3b_1x1")(x)
        x = ConvBn(192, (3, 3), padding="VALID", name="Conv2d_4a_3x3")(x)
        x = nn.max_pool(x, (3, 3), (2, 2))
        x = _block_a(32, "Mixed_5b")(x)
        x = _block_a(64, "Mixed_5c")(x)
        x = _block_a(64, "Mixed_5d")(x)
        x = Branches(
            (
                (("branch3x3", 384, (3, 3)),),
                (("branch3x3dbl_1", 64, (1, 1)), ("branch3x3dbl_2", 96, (3, 3)), ("branch3x3dbl_3", 96, (3, 3))),
            ),
            "max",
            0,
            stride=2,
            name="Mixed_6a",
        )(x)
        for name, width in {"Mixed_6b": 128, "Mixed_6c": 160, "Mixed_6d": 160, "Mixed_6e": 192}.items():
            x = _block_c(width, name)(x)
        x = Branches(
            (
                (("branch3x3_1", 192, (1, 1)), ("branch3x3_2", 320, (3, 3))),
                (
                    ("branch7x7x3_1", 192, (1, 1)),
                    ("branch7x7x3_2", 192, (1, 7)),
                    ("branch7x7x3_3", 192, (7, 1)),
                    ("branch7x7x3_4", 192, (3, 3)),
                ),
            ),
            "max",
            0,
            stride=2,
            name="Mixed_7a",
        )(x)
        x = _block_e("mean", "Mixed_7b")(x)
        x = _block_e("max", "Mixed_7c")(x)
        pool = x.mean(axis=(1, 2))
        return Features(pool, nn.Dense(1008, use_bias=False, precision=_PRECISION, name="fc")(pool))


def preprocess(images: jax.Array) -> jax.Array:
    """Resizes to 299 x 299 as TensorFlow 1 did and scales as its graph does: uint8 [B, H, W, 3] -> (x - 128) / 128.

    The resize is bilinear without antialiasing and without half-pixel centers: the source position of
    pixel i is i H / 299. (pytorch-fid uses half-pixel centers, which gives a different FID.)
    """
    x = images.astype(jnp.float32)
    for axis in (1, 2):
        size = x.shape[axis]
        position = jnp.arange(_SIZE, dtype=jnp.float32) * (size / _SIZE)
        low = jnp.floor(position).astype(jnp.int32)
        shape = [1] * x.ndim
        shape[axis] = _SIZE
        fraction = (position - low).reshape(shape)
        below, above = (jnp.take(x, jnp.minimum(i, size - 1), axis=axis) for i in (low, low + 1))
        x = below + (above - below) * fraction
    return (x - 128.0) / 128.0
