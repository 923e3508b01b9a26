"""Your own arrays: an `.npz` file with `image` uint8 [N, H, W, C] or `tokens` int [N, L], and optionally `label`.

    python -m bitdiff.train --config configs/npz.py:image_small --config.data.path=FILE --workdir runs/mine
    python -m bitdiff.train --config configs/npz.py:tokens_small --config.data.path=FILE --workdir runs/mine
    python -m bitdiff.train --config configs/npz.py:image --config.data.path=FILE --workdir runs/mine
    python -m bitdiff.train --config configs/npz.py:tokens --config.data.path=FILE --workdir runs/mine

An `.npy` file of images or tokens alone is memory-mapped; its labels are beside it: `x.npy`, `x.label.npy`. Sizes,
vocabulary and classes are taken from the file. The small variants train for a few minutes on two CPU cores. The others
have a few million parameters, for one GPU; change their size with `--config.network.dim`, `--config.network.blocks` or
`--config.network.layers`.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "image") -> ml_collections.ConfigDict:
    """The configuration for 'image' or 'tokens', or for one of their small variants."""
    presets.check_variant(__file__, variant, ("image_small", "tokens_small", "image", "tokens"))
    config = base_config()
    config.data.name = "npz"
    if variant == "image_small":
        presets.small_images(config)
        return config
    if variant == "tokens_small":
        config.task = "tokens"
        config.network = sections.transformer(dim=64, layers=2, head_dim=32)
        config.diffusion.label_dropout = 0.1
        presets.small_run(config, steps=6_000, batch_size=128)
        return config
    if variant == "image":
        config.network = sections.unet(dim=64, multipliers=(1, 2), blocks=2, attention_resolutions=(16, 8))
    else:
        config.task = "tokens"
        config.network = sections.transformer(dim=256, layers=4)
    presets.medium_run(config)
    return config
