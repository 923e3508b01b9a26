"""scikit-learn's digits: 1,797 real 8 x 8 images of 17 grey levels in 5 bits, class-conditional.

python -m bitdiff.train --config configs/digits.py --workdir runs/digits
"""

import ml_collections

from configs import common


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant: an encoding name, '' for 'uint'."""
    config = common.base()
    config.data.name = "digits"
    config.bits.encoding = variant or "uint"
    config.diffusion.label_dropout = 0.1
    config.network = common.unet(dim=32, multipliers=(1, 2), blocks=1, attention_resolutions=())

    config.optimizer.learning_rate = 2e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.995
    config.train.steps = 2_500
    config.train.batch_size = 64
    config.train.sample_every_steps = 1_000
    config.checkpoint.every_steps = 500
    config.sample.steps = 20
    config.evaluate.num_samples = 2_000
    return config
