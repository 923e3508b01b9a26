"""Token pairs from a known distribution over 256 states: the sampler and the network measured apart.

    python -m bitdiff.train --config configs/mixture.py --workdir runs/mixture

Evaluation gives the total variation of the network's samples, of the Bayes-optimal denoiser's, and the
statistical floor.
"""

import ml_collections

from configs import common


def get_config(variant: str = "") -> ml_collections.ConfigDict:
    """The configuration of a variant: an encoding name, '' for 'uint'."""
    config = common.base()
    config.task = "tokens"
    config.data.name = "mixture"
    config.bits.encoding = variant or "uint"
    config.network = common.transformer(dim=64, layers=2, head_dim=32)
    _small_run(config, steps=3_000)
    return config


def _small_run(config: ml_collections.ConfigDict, steps: int) -> None:
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.995
    config.train.steps = steps
    config.train.batch_size = 256
    config.train.sample_every_steps = 1_000
    config.checkpoint.every_steps = 1_000
    config.sample.batch_size = 1_000
    config.evaluate.num_samples = 20_000
