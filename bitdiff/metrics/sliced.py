"""Sliced Wasserstein distance of image patches at each scale: a comparison that needs no weights, but is not FID.

Karras et al. (2018), section 5: 7 x 7 patches of a Laplacian pyramid, whose coarse levels show composition and
color and whose fine levels show texture and noise, which a distance between whole images hardly detects.
"""

import numpy as np
from scipy import ndimage

_PATCH = 7
_SMALLEST = 8  # minimum width of the coarsest level, in pixels
_PATCHES = 16  # per image and level
_PROJECTIONS = 128
_MAX_IMAGES = 4_096  # per set
_KERNEL = np.array([1.0, 4.0, 6.0, 4.0, 1.0]) / 16.0
MIN_SIZE = 2 * _SMALLEST


def distances(samples: np.ndarray, real: np.ndarray, seed: int = 0) -> dict[int, float]:
    """The mean 1-Wasserstein distance of random projections of patches, by level: {pixels: distance}.

    Args:
      samples: images [N, H, W, C], at least 16 pixels wide; the same number of each set is compared, at most 4,096.
      real: images [M, H, W, C]. The mean and standard deviation of their patches per channel set the unit: 0.1 is a
        tenth of a standard deviation, or of a gray level if that is more. (Karras et al. scale each set by its own
        statistics, which hides a color shift.)
      seed: seed for the positions of the patches and the projections.
    """
    count = min(len(samples), len(real), _MAX_IMAGES)
    rng = np.random.default_rng(seed)
    results = {}
    levels = zip(_pyramid(_spread(samples, count)), _pyramid(_spread(real, count)), strict=True)
    for level_samples, level_real in levels:
        height, width, channels = level_real.shape[1:]
        rows = rng.integers(0, height - _PATCH + 1, (count, _PATCHES))
        columns = rng.integers(0, width - _PATCH + 1, (count, _PATCHES))
        a, b = (_patches(level, rows, columns) for level in (level_samples, level_real))
        mean, deviation = b.mean(axis=(0, 1), dtype=np.float64), b.std(axis=(0, 1), dtype=np.float64)
        scale = (1.0 / np.maximum(deviation, 1.0)).astype(np.float32)
        a, b = ((x - mean.astype(np.float32)) * scale for x in (a, b))
        directions = rng.standard_normal((_PATCH * _PATCH * channels, _PROJECTIONS), np.float32)
        directions /= np.linalg.norm(directions, axis=0)
        a, b = (np.sort(x.reshape(-1, len(directions)) @ directions, axis=0) for x in (a, b))
        results[min(height, width)] = float(np.abs(a - b).mean(dtype=np.float64))
    return results


def _spread(images: np.ndarray, count: int) -> np.ndarray:
    """`count` evenly spaced images."""
    return np.asarray(images[np.arange(count) * len(images) // count], np.float32)


def _pyramid(images: np.ndarray) -> list[np.ndarray]:
    """Laplacian pyramid of [N, H, W, C]: differences of adjacent scales, and the coarsest scale itself."""
    levels = []
    while min(images.shape[1:3]) // 2 >= _SMALLEST:
        coarse = _blur(images)[:, ::2, ::2]
        spread = np.zeros_like(images)
        spread[:, ::2, ::2] = 4.0 * coarse
        levels.append(images - _blur(spread))
        images = coarse
    return [*levels, images]


def _blur(images: np.ndarray) -> np.ndarray:
    for axis in (1, 2):
        images = ndimage.convolve1d(images, _KERNEL, axis=axis, mode="mirror")
    return images


def _patches(images: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Patches [N * patches, 49, C] at the given upper left corners."""
    windows = np.lib.stride_tricks.sliding_window_view(images, (_PATCH, _PATCH), axis=(1, 2))
    chosen = windows[np.arange(len(images))[:, None], rows, columns]  # [N, patches, C, 7, 7]
    return np.moveaxis(chosen, 2, -1).reshape(-1, _PATCH * _PATCH, images.shape[-1])
