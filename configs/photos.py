"""Crops of scikit-learn's two photographs: real 8-bit color that needs no download.

    python -m bitdiff.train --config configs/photos.py:gray --workdir runs/photos_gray

The crops are harder than digits, yet small enough for a CPU, and show differences between encodings, losses and
samplers. Variants: uint (the default), gray, uint_rand (with the factorized softmax), continuous. Crops are 16 x 16
pixels; `--config.data.image_size=32` gives larger ones. `bash launch/photos.sh` trains five models with three seeds
each and compares samplers. Hardware: one CPU core, eight minutes. The paper does not use this data set. Results:
configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "uint") -> ml_collections.ConfigDict:
    """The configuration for an encoding."""
    presets.check_variant(__file__, variant, presets.PAPER_ENCODINGS)
    config = base_config()
    config.data.name = "photos"
    config.data.image_size = 16
    config.data.channels = 3
    config.data.vocab_size = 256
    config.data.num_classes = 2
    config.data.flip = True
    config.diffusion.label_dropout = 0.1
    config.network = sections.unet(dim=24, multipliers=(1, 2), blocks=1, attention_resolutions=(8,), head_dim=24)
    presets.paper_encoding(config, variant, dropout=0.0)
    presets.small_run(config, steps=2_000, batch_size=32)
    config.sample.steps = 50
    config.evaluate.num_samples = 2_000
    return config
