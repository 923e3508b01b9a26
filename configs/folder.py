"""Your own pictures: a folder of images, or one subfolder per class.

    python -m bitdiff.train --config configs/folder.py --config.data.path=FOLDER --workdir runs/mine

Without further options, all images must be square and of the same size, which is taken from the first. To resize
pictures of any size to 32 x 32: `--config.data.image_size=32 --config.data.resize=bicubic` (a center crop, then a
resize). `--config.data.num_classes=0` ignores the classes of the subfolders.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration; it has no variants."""
    if variant:
        presets.check_variant(__file__, variant, ())
    config = base_config()
    config.data.name = "folder"
    config.network = sections.unet(dim=64, multipliers=(1, 2), blocks=2, attention_resolutions=(16, 8))
    presets.medium_run(config)
    return config
