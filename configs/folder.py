"""Your own pictures: a folder of images, or one subfolder per class.

    python -m bitdiff.train --config configs/folder.py:small --config.data.path=FOLDER --workdir runs/mine
    python -m bitdiff.train --config configs/folder.py --config.data.path=FOLDER --workdir runs/mine

Variants: small resizes pictures of any size to 16 x 16 (a center crop, then a resize) and trains for a few minutes on
two CPU cores; full (the default) is for one GPU. Without further options, full requires square images of one size,
which is taken from the first; `--config.data.image_size=32 --config.data.resize=bicubic` resizes pictures of any size.
`--config.data.num_classes=0` ignores the classes of the subfolders.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "full") -> ml_collections.ConfigDict:
    """The configuration for 'small' or 'full'."""
    presets.check_variant(__file__, variant, ("small", "full"))
    config = base_config()
    config.data.name = "folder"
    if variant == "small":
        config.data.image_size = 16
        config.data.resize = "box"
        presets.small_images(config)
        return config
    config.network = sections.unet(dim=64, multipliers=(1, 2), blocks=2, attention_resolutions=(16, 8))
    presets.medium_run(config)
    return config
