"""ImageNet 64 x 64: the published class-conditional Analog Bits rows, and the same without labels.

    python -m bitdiff.prepare --config configs/imagenet64.py
    python -m bitdiff.train --config configs/imagenet64.py:gray_cond --workdir runs/imagenet64_gray_cond

Variants: uint_cond (the default), gray_cond, uint_rand_cond, continuous_cond, and *_uncond.

Several data sets are called "ImageNet 64 x 64". This is ImageNet 2012 from TFDS (downloaded manually, as TFDS
describes), with the center square of each picture resized by area ('box'), as in the paper. The box-filtered set of
Chrabaszcz et al., with its labels in a different order, is `--config.data.builder=imagenet_resized/64x64
--config.data.resize=none`. The config of every checkpoint and every evaluation record which one was used.

Hardware: the paper does not state it; 247 M parameters, batch 1024 and 500 k steps require many accelerators. On a GPU
or TPU, add `--config.network.dtype=bfloat16`. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = tuple(f"{name}_{kind}" for name in presets.PAPER_ENCODINGS for kind in ("uncond", "cond"))


def get_config(variant: str = "uint_cond") -> ml_collections.ConfigDict:
    """The configuration for one of VARIANTS."""
    presets.check_variant(__file__, variant, VARIANTS)
    encoding, kind = variant.rsplit("_", 1)
    config = base_config()
    config.data.name = "tfds"
    config.data.builder = "imagenet2012"
    config.data.train_split = "train"
    config.data.test_split = "validation"
    config.data.image_size = 64
    config.data.channels = 3
    config.data.vocab_size = 256
    config.data.num_classes = 1000 if kind == "cond" else 0
    config.data.resize = "box"
    config.data.flip = True
    config.network = sections.unet(dim=192, multipliers=(1, 2, 3, 4))
    presets.paper_encoding(config, encoding, dropout=0.0)
    config.optimizer.learning_rate = 1e-4 if encoding == "uint_rand" else 2e-4
    config.train.steps = 500_000
    config.train.batch_size = 1024
    config.evaluate.num_samples = 50_000
    return config
