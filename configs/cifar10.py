"""CIFAR-10: every published row of Analog Bits on it, as a variant.

    python -m bitdiff.prepare --config configs/cifar10.py
    python -m bitdiff.train --config configs/cifar10.py:gray_cond --workdir runs/cifar10_gray_cond

Without TFDS: `--config.data.name=folder` or `npz`, and `--config.data.path`. Without a variant: uint_cond.
Hardware: the paper does not state it; 52 M parameters, batch 128, 1.5 M steps: accelerators, for days.
On a GPU or TPU add `--config.network.dtype=bfloat16`.

FID of 50,000 samples against the training set, the best of {ddim, ddpm} x {100, 250, 400, 1000} steps x td
{0, .01, .1, .2, .5}:

    variant                            paper   ours
    uint_uncond          / uint_cond          3.48 / 2.72   not yet run
    gray_uncond          / gray_cond          3.86 / 2.94   not yet run
    uint_rand_uncond     / uint_rand_cond     6.93 / 6.43   not yet run
    continuous_uncond    / continuous_cond    3.14 / 2.95   not yet run

The ablation of losses, unconditional (l2 on plain encodings are the rows above):

    one_hot_l2                         46.32   not yet run
    one_hot_logistic                   26.82   not yet run
    one_hot_softmax                    29.49   not yet run
    uint_logistic                       3.53   not yet run
    gray_logistic                       3.71   not yet run
    uint_rand_logistic                 49.29   not yet run
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
    """The configuration of one of VARIANTS."""
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
