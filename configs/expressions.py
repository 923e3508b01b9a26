"""Bracketed arithmetic with its value: a formal language with long-range agreement, which a parser can check.

    python -m bitdiff.train --config configs/expressions.py --workdir runs/expressions

Variants: blocks (the default; softmax bits, one token at a time), softmax (a softmax over the vocabulary,
trained with cross-entropy, all tokens at once with positions that lag), bits (the paper's linear output with l2 loss,
all tokens at once), autoregressive. All variants learn arithmetic from examples only. Hardware: one CPU core, 20
minutes (autoregressive: 10). Neither paper uses this data set. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = ("blocks", "softmax", "bits", "autoregressive")


def get_config(variant: str = "blocks") -> ml_collections.ConfigDict:
    """The configuration for a kind of model."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.data.name = "expressions"
    config.data.length = 64
    config.data.vocab_size = 22
    config.data.num_classes = 0
    config.network = sections.transformer(dim=96, layers=3, head_dim=32)
    if variant == "blocks":
        presets.blocks(config, size=1, layers=1)
    else:
        presets.captioning(config, variant)
    presets.small_run(config, steps=3_000, batch_size=32)
    config.optimizer.name = "muon"
    if variant == "softmax":
        config.diffusion.lag = 16.0
        config.sample.update(lag=16.0, steps=64, td=0.0)
    config.evaluate.num_samples = 1_000
    return config
