"""ImageNet 64 x 64: the published rows of Analog Bits, conditional, and the same without labels.

    python -m bitdiff.prepare --config configs/imagenet64.py
    python -m bitdiff.train --config configs/imagenet64.py:gray_cond --workdir runs/imagenet64_gray_cond

"ImageNet 64 x 64" is several data sets. Here: ImageNet 2012 of TFDS (downloaded by hand, as TFDS says), the
centre square of each picture shrunk by area ('box'), as the paper writes. The box-filtered set of Chrabaszcz
et al., with its labels in another order, is
`--config.data.builder=imagenet_resized/64x64 --config.data.resize=none`. What was used stands in the config
of every checkpoint and in every evaluation. Without a variant: uint_cond.

Hardware: the paper does not state it; 247 M parameters, batch 1024, 500 k steps: many accelerators.
On a GPU or TPU add `--config.network.dtype=bfloat16`.

FID of 50,000 samples against the training set, the best over samplers, steps and td:

    variant             paper   ours
    uint_cond            4.84   not yet run
    gray_cond            5.14   not yet run
    uint_rand_cond       8.76   not yet run
    continuous_cond      3.43   not yet run
    *_uncond                -   not yet run
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = tuple(f"{name}_{kind}" for name in presets.PAPER_ENCODINGS for kind in ("uncond", "cond"))


def get_config(variant: str = "uint_cond") -> ml_collections.ConfigDict:
    """The configuration of one of VARIANTS."""
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
