"""scikit-learn's digits: 1,797 real 8 x 8 images with 17 gray levels in 5 bits, class-conditional.

    python -m bitdiff.train --config configs/digits.py --workdir runs/digits

Variants: uint (the default), gray, uint_rand, one_hot, distilled (a student of a run of uint, as in mixture.py).
Hardware: two CPU cores, three to five minutes. The paper does not use this data set. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "uint") -> ml_collections.ConfigDict:
    """The configuration for an encoding, or for a student."""
    presets.check_variant(__file__, variant, (*presets.BIT_ENCODINGS, "distilled"))
    config = base_config()
    config.data.name = "digits"
    config.data.image_size = 8
    config.data.channels = 1
    config.data.vocab_size = 17
    config.data.num_classes = 10
    config.bits.encoding = "uint" if variant == "distilled" else variant
    config.diffusion.label_dropout = 0.1
    config.network = sections.unet(dim=32, multipliers=(1, 2), blocks=1, attention_resolutions=())

    presets.small_run(config, steps=2_500, batch_size=64)
    config.optimizer.learning_rate = 2e-3
    config.sample.steps = 40
    config.evaluate.num_samples = 2_000
    if variant == "distilled":
        presets.distillation(config, steps=800)
    return config
