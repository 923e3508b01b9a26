r"""The One Billion Word benchmark, sentences of up to 128 tokens: Bit Diffusion of text at the scale of its successors.

    python -m bitdiff.prepare --config configs/lm1b.py
    python -m bitdiff.train_tokenizer --input 'tfds:lm1b:train[:1%]' --vocab_size 32768 --out lm1b.model
    python -m bitdiff.train --config configs/lm1b.py:cobit --config.data.tokenizer=lm1b.model --workdir runs/lm1b

All variants have 12 layers of width 768, and 15 bits per token. Modulation by time raises the number of parameters
from 136 million (autoregressive) to 213 to 239 million (all others). bits (the default): the paper's linear output with
l2 loss. softmax: a softmax over the vocabulary, trained with cross-entropy, with positions that lag. cobit: the recipe
of Batzolis et al. 2026, with the matched filter, a bounded squared error weighted as in EDM, and stochastic sampling;
`--config.diffusion.schedule=measured --config.diffusion.schedule_run=RUN` adds a measured schedule. autoregressive: the
baseline. The batch size and the number of steps are those that masked diffusion models use on this data set.

Hardware: several days on 8 GPUs or a TPU slice, with `--config.network.dtype=bfloat16`. Not yet run. Results:
configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = ("bits", "softmax", "cobit", "autoregressive")


def get_config(variant: str = "bits") -> ml_collections.ConfigDict:
    """The configuration for a kind of model."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.data.name = "tfds"
    config.data.builder = "lm1b"
    config.data.train_split = "train"
    config.data.test_split = "test"
    config.data.length = 128
    config.data.vocab_size = 32_768
    config.data.num_classes = 0
    config.data.cut = True
    config.network = sections.transformer(dim=768, layers=12, head_dim=64, dropout=0.1)
    presets.captioning(config, "bits" if variant == "cobit" else variant)
    if variant == "softmax":
        config.diffusion.lag = 16.0
        config.sample.update(lag=16.0, steps=256, td=0.0)
    if variant == "cobit":
        config.diffusion.update(head="sigmoid", matched_filter=True, weight="edm")
        config.sample.update(steps=256, td=0.0, churn_fraction=0.15, noise_scale=1.003)
    config.optimizer.learning_rate = 3e-4
    config.optimizer.warmup_steps = 2_500
    config.train.steps = 1_000_000
    config.train.batch_size = 512
    config.checkpoint.every_steps = 5_000
    config.evaluate.num_samples = 1_000
    return config
