r"""Fashion-MNIST: 70,000 images of clothing with 256 gray levels, class-conditional.

    apt-get install dataset-fashion-mnist
    python -m bitdiff.train --config configs/fashion.py:small --workdir runs/fashion
    python -m bitdiff.train_judge --config fashion:small --out judge.npz
    python -m bitdiff.evaluate --workdir runs/fashion --judge judge.npz

Debian's package has the files; elsewhere, set config.data.path to a folder with the four IDX files, as published for
MNIST, Fashion-MNIST, KMNIST and EMNIST, or use TFDS with --config.data.name=tfds --config.data.builder=fashion_mnist
--config.data.path= --config.data.train_split=train --config.data.test_split=test.

Variants: full (the default; 28 x 28 pixels, padded to 32) and small (averaged to 14 x 14, for a CPU); each also with
the suffix _masked, for masked diffusion, and _distilled, for a student of a run, as in mixture.py. The papers do not
use this data set. Not yet run.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = tuple(f"{size}{model}" for size in ("full", "small") for model in ("", "_masked", "_distilled"))


def get_config(variant: str = "full") -> ml_collections.ConfigDict:
    """The configuration for a size and a model."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.data.name = "idx"
    config.data.path = "/usr/share/datasets/fashion-mnist"
    config.data.channels = 1
    config.data.vocab_size = 256
    config.data.num_classes = 10
    config.diffusion.label_dropout = 0.1
    if variant.startswith("full"):
        config.data.image_size = 32
        config.data.resize = "pad"
        config.data.flip = True
        config.network = sections.unet(dim=128, multipliers=(1, 2, 2), blocks=2, attention_resolutions=(16, 8))
        config.train.steps = 100_000
    else:
        config.data.image_size = 14
        config.data.resize = "box"
        config.network = sections.unet(dim=32, multipliers=(1, 2), blocks=1, attention_resolutions=())
        presets.small_run(config, steps=4_000, batch_size=64)
        config.optimizer.learning_rate = 2e-3
    config.sample.steps = 40
    config.evaluate.num_samples = 2_000
    if variant.endswith("masked"):
        presets.masked(config)
    if variant.endswith("distilled"):
        presets.distillation(config, steps=config.train.steps // 2)
    return config
