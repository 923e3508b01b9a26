"""Bracketed arithmetic with its value: a formal language with long-range agreement, which a parser can check.

    python -m bitdiff.train --config configs/expressions.py:softmax --workdir runs/expressions

Variants: bits (the default; the paper's linear output with l2 loss), softmax (a softmax over the vocabulary, trained
with cross-entropy, with positions that lag), blocks (softmax bits in blocks of 8 tokens), autoregressive. No variant
knows arithmetic except from its examples. Hardware: one CPU core, about ten minutes. Neither paper uses this data set.
Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = ("bits", "softmax", "blocks", "autoregressive")


def get_config(variant: str = "bits") -> ml_collections.ConfigDict:
    """The configuration for a kind of model."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.data.name = "expressions"
    config.data.length = 64
    config.data.vocab_size = 22
    config.data.num_classes = 0
    config.network = sections.transformer(dim=96, layers=3, head_dim=32)
    if variant == "blocks":
        presets.blocks(config, size=8, layers=2)
    else:
        presets.captioning(config, variant)
    presets.small_run(config, steps=3_000, batch_size=32)
    config.optimizer.name = "muon"
    if variant == "softmax":
        config.diffusion.lag = 16.0
        config.sample.update(lag=16.0, steps=64, td=0.0)
    config.evaluate.num_samples = 1_000
    return config
