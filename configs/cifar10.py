"""CIFAR-10: every published Analog Bits row, as a variant.

    python -m bitdiff.prepare --config configs/cifar10.py
    python -m bitdiff.train --config configs/cifar10.py:gray_cond --workdir runs/cifar10_gray_cond

Variants: uint_uncond, uint_cond (the default), gray_uncond, gray_cond, uint_rand_uncond, uint_rand_cond,
continuous_uncond, continuous_cond; and the unconditional ablation of losses (the rows above use l2): one_hot_l2,
one_hot_logistic, one_hot_softmax, uint_logistic, gray_logistic, uint_rand_logistic.

Without TFDS, use `--config.data.name=folder` or `npz`, and `--config.data.path`. Hardware: the paper does not state it;
52 M parameters, batch 128 and 1.5 M steps take days on accelerators. On a GPU or TPU, add
`--config.network.dtype=bfloat16`. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

ROWS = tuple(f"{name}_{kind}" for name in presets.PAPER_ENCODINGS for kind in ("uncond", "cond"))
ABLATION = (
    *(f"one_hot_{loss}" for loss in ("l2", "logistic", "softmax")),
    *(f"{name}_logistic" for name in ("uint", "gray", "uint_rand")),
)
VARIANTS = ROWS + ABLATION


def get_config(variant: str = "uint_cond") -> ml_collections.ConfigDict:
    """The configuration for one of VARIANTS."""
    presets.check_variant(__file__, variant, VARIANTS)
    encoding, kind = variant.rsplit("_", 1)
    config = base_config()
    config.data.name = "tfds"
    config.data.builder = "cifar10"
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.image_size = 32
    config.data.channels = 3
    config.data.vocab_size = 256
    config.data.num_classes = 10 if kind == "cond" else 0
    config.data.flip = True
    config.network = sections.unet()
    if kind in ("cond", "uncond"):
        presets.paper_encoding(config, encoding, dropout=0.3)
    else:
        config.bits.encoding = encoding
        config.diffusion.loss = kind
    config.train.steps = 1_500_000
    config.evaluate.num_samples = 50_000
    return config
