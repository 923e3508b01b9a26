"""3 x 3 convolutions by Winograd's F(4 x 4, 3 x 3), with a quarter of the multiplications (Lavin and Gray, 2016).

4 x 4 outputs of one channel are A [(G g G^T) * (B d B^T)] A^T, with g the kernel and d the 6 x 6 inputs they depend on;
summed over input channels, the element-wise product * becomes 36 matrix products. XLA's CPU backend computes
convolutions at the rate of its matrix products, so large networks train several times as fast there.
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
import numpy as np

# The polynomials are evaluated at pairs of these points and infinity. The usual points 0, 1, -1, 2, -2 have twice the
# rounding error: 1.8e-6 (root mean square) at 64 channels, instead of 0.9e-6; a direct convolution has 0.4e-6.
_POINTS = np.array([0, 3 / 4, -3 / 4, 3 / 2, -3 / 2])
_MIN_CHANNELS = 64  # with fewer, compiling the transforms takes longer than a short run saves
_PIXELS_PER_CHANNEL = 2  # with fewer, transforming the kernel costs more time and memory than the products save
_FOR_OTHER_DEVICES = contextvars.ContextVar("_FOR_OTHER_DEVICES", default=False)


@contextlib.contextmanager
def for_other_devices() -> Iterator[None]:
    """Code traced in this context is compiled for devices other than this machine's CPU, as in planning."""
    token = _FOR_OTHER_DEVICES.set(True)
    try:
        yield
    finally:
        _FOR_OTHER_DEVICES.reset(token)


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """B [6, 6], G [6, 3] and A [4, 6] of the transposed Toom-Cook multiplication of polynomials."""
    others = [np.delete(_POINTS, i) for i in range(5)]
    b = np.array([np.append(np.poly(roots)[::-1], 0) for roots in others] + [np.poly(_POINTS)[::-1]])
    scale = np.array([np.prod(point - roots) for point, roots in zip(_POINTS, others, strict=True)])
    g = np.vstack([np.vander(_POINTS, 3, increasing=True) / scale[:, None], [0, 0, 1]])
    a = np.vstack([np.vander(_POINTS, 4, increasing=True), [0, 0, 0, 1]]).T
    return b, g, a


_B, _G, _A = _matrices()


def pays(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether `convolve` supports the convolution of x [B, H, W, C] with kernel [h, w, C, O] and is faster.

    It requires a CPU as jax's default backend (and not `for_other_devices`), float32, a 3 x 3 kernel, at least 64
    channels in and out, H and W multiples of 4, and at least 2 (C + O) pixels in the batch.
    """
    return (
        jax.default_backend() == "cpu"
        and not _FOR_OTHER_DEVICES.get()
        and x.dtype == kernel.dtype == jnp.float32
        and kernel.shape[:2] == (3, 3)
        and min(kernel.shape[2:]) >= _MIN_CHANNELS
        and all(isinstance(size, int) for size in x.shape)  # an export for any batch size has symbolic dimensions
        and not any(size % 4 for size in x.shape[1:3])
        and math.prod(x.shape[:3]) >= _PIXELS_PER_CHANNEL * sum(kernel.shape[2:])
    )


def convolve(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The zero-padded convolution of x float32 [B, H, W, C] with kernel float32 [3, 3, C, O]: [B, H, W, O].

    H and W are multiples of 4. A value that is not finite affects all outputs of its 4 x 4 tiles.
    """
    # Without barriers, XLA would fuse the sums into their uses and recompute them for each.
    once = jax.lax.optimization_barrier
    batch, height, width, channels = x.shape
    rows, columns, features = height // 4, width // 4, kernel.shape[-1]
    x = jnp.pad(x, ((0, 0), (1, 3), (1, 3), (0, 0)))
    x = once(_transform(_B, _windows(once(_transform(_B, _windows(x, 1))), 3), axis=1))
    x = x.reshape(36, batch * rows * columns, channels)
    kernel = jnp.asarray(np.kron(_G, _G), kernel.dtype) @ kernel.reshape(9, channels * features)
    y = jnp.matmul(x, kernel.reshape(36, channels, features))
    y = y.reshape(6, 6, batch, rows, columns, features)
    y = _transform(_A, list(once(_transform(_A, list(y))).swapaxes(0, 1)), axis=1)
    return y.transpose(2, 3, 0, 4, 1, 5).reshape(batch, height, width, features)


def _windows(x: jax.Array, axis: int) -> list[jax.Array]:
    """Windows of 6 with stride 4 along an axis of length 4 (n + 1): their first elements [..., n, ...], and so on."""
    count = x.shape[axis] // 4 - 1
    tiles = x.reshape(*x.shape[:axis], count + 1, 4, *x.shape[axis + 1 :])
    return [
        jax.lax.index_in_dim(jax.lax.slice_in_dim(tiles, i // 4, i // 4 + count, axis=axis), i % 4, axis + 1, False)
        for i in range(6)
    ]


def _transform(matrix: np.ndarray, parts: Sequence[jax.Array], axis: int = 0) -> jax.Array:
    """The product of the matrix and the parts, stacked along a new axis."""
    rows = [sum(np.float32(c) * part for c, part in zip(row, parts, strict=True) if c) for row in matrix]
    return jnp.stack(rows, axis)
