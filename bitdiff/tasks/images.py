"""Images as analog bits: uint8 [H, W, C], denoised by the U-Net."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn

from bitdiff.conditions import Condition
from bitdiff.tasks.bit_scores import bit_scores
from bitdiff.tasks.denoiser import Layout
from bitdiff.tasks.denoising import make_denoising_task
from bitdiff.tasks.image_scores import image_scores
from bitdiff.tasks.latent_scores import latent_scores
from bitdiff.tasks.task import Task


def make_image_task(config: Any, network: nn.Module | None = None, conditions: Sequence[Condition] = ()) -> Task:
    """Bit Diffusion of images with the size and channels in config.data.

    Raises:
      UsageError: see `make_denoising_task`.
    """
    size = config.data.image_size

    def evaluate_images(outputs, dataset, options):
        del options
        scores = bit_scores(outputs, config.bits.encoding) | image_scores(outputs, dataset)
        return scores | latent_scores(outputs)

    layout = Layout("image", (size, size), config.data.channels)
    return make_denoising_task(config, layout, evaluate_images, network, conditions)
