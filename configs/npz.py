"""Your own arrays: an `.npz` file with `image` uint8 [N, H, W, C] or `tokens` int [N, L], and optionally `label`.

An `.npy` file of images or tokens alone is mapped into memory; labels lie beside it: `x.npy`, `x.label.npy`.

    python -m bitdiff.train --config configs/npz.py:image --config.data.path=FILE --workdir runs/mine
    python -m bitdiff.train --config configs/npz.py:tokens --config.data.path=FILE --workdir runs/mine

Sizes, vocabulary and classes are taken from the file. The networks are a few million parameters, for one
GPU; make them larger or smaller by `--config.network.dim`, `--config.network.blocks` or `.layers`.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "image") -> ml_collections.ConfigDict:
    """The configuration for 'image' or 'tokens'."""
    presets.check_variant(__file__, variant, ("image", "tokens"))
    config = base_config()
    config.data.name = "npz"
    if variant == "image":
        config.network = sections.unet(dim=64, multipliers=(1, 2), blocks=2, attention_resolutions=(16, 8))
    else:
        config.task = "tokens"
        config.network = sections.transformer(dim=256, layers=4)
    presets.medium_run(config)
    return config
