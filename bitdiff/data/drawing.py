"""Renders scenes as pictures: anti-aliased shapes on a dark, noisy background."""

import numpy as np

from bitdiff.data.scenes import Group, Scene

_RGB = {
    "red": (215, 45, 40),
    "green": (45, 165, 60),
    "blue": (55, 85, 225),
    "yellow": (230, 205, 50),
    "purple": (160, 60, 190),
    "white": (235, 235, 235),
}
_RADIUS = {"small": 0.105, "big": 0.15}  # as a fraction of the picture's width
_COLOUR_JITTER, _NOISE = 18.0, 4.0  # gray levels


def draw(scene: Scene, pixels: int, random: np.random.Generator) -> np.ndarray:
    """Renders a scene as uint8 [pixels, pixels, 3], each group in its own half of the picture.

    The groups' centers are farther apart along the scene's axis than across it, so only one relation holds.
    """
    image = np.full((pixels, pixels, 3), random.uniform(0, 60, 3), np.float32)
    for half, group in enumerate((scene.first, scene.second)):
        assert group.colour is not None
        assert group.size is not None
        colour = np.clip(np.array(_RGB[group.colour]) + random.normal(0, _COLOUR_JITTER, 3), 0, 255)
        for along, across in _places(half, group, random):
            place = (along, across) if scene.axis == 0 else (across, along)
            cover = _cover(group.shape, place, _RADIUS[group.size] * random.uniform(0.94, 1.06), pixels)
            image += cover[..., None] * (colour - image)
    image += random.normal(0, _NOISE, image.shape)
    return np.clip(np.round(image), 0, 255).astype(np.uint8)


def _places(half: int, group: Group, random: np.random.Generator) -> np.ndarray:
    """Centers (along the axis, across it) float [count, 2], as fractions of the picture's width."""
    across = 0.5 + (np.arange(group.count) - (group.count - 1) / 2) / 3.2 + random.uniform(-0.04, 0.04)
    if group.count == 1:
        across += random.uniform(-0.1, 0.1)
    along = 0.25 + 0.5 * half + random.uniform(-0.06, 0.06)
    return np.stack([np.full(group.count, along), across], axis=1) + random.uniform(-0.015, 0.015, (group.count, 2))


def _cover(shape: str, place: tuple[float, float], radius: float, pixels: int) -> np.ndarray:
    """The fraction of each pixel that a shape covers, float [pixels, pixels], from its distance to the edge."""
    centres = (np.arange(pixels) + 0.5) / pixels
    y, x = (centres - place[0])[:, None], (centres - place[1])[None, :]
    if shape == "circle":
        inside = radius - np.hypot(x, y)
    elif shape == "square":
        inside = 0.88 * radius - np.maximum(abs(x), abs(y))
    elif shape == "triangle":
        inside = np.minimum(0.6 * radius - y, (y + 1.15 * radius) * 0.53 - abs(x) * 0.85)
    else:
        arm, reach = 0.33 * radius, 1.05 * radius
        inside = np.maximum(np.minimum(arm - abs(x), reach - abs(y)), np.minimum(reach - abs(x), arm - abs(y)))
    return np.clip(inside * pixels + 0.5, 0.0, 1.0)
