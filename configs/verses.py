r"""The King James Bible, verse by verse: four megabytes of English prose from Debian's package bible-kjv.

    apt-get install bible-kjv
    bible -f "Genesis 1:1-Revelation 22:21" | cut -d" " -f2- > verses.txt
    python -m bitdiff.train --config configs/verses.py:autoregressive --workdir runs/verses_baseline \
        --config.data.path=verses.txt
    python -m bitdiff.train --config configs/verses.py --config.data.path=verses.txt --workdir runs/verses
    python -m bitdiff.evaluate --workdir runs/verses --baseline runs/verses_baseline

31,102 verses in a vocabulary of 1,024 word pieces; the 10% that exceed 64 pieces are truncated. Variants: blocks (the
default; softmax bits, one token at a time), softmax (all tokens at once, with positions that lag), bits (the paper's
linear output, all tokens at once), autoregressive. Hardware: one CPU core, 30 minutes: three passes over the text, far
from convergence. The paper does not use this text. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = ("blocks", "softmax", "bits", "autoregressive")


def get_config(variant: str = "blocks") -> ml_collections.ConfigDict:
    """The configuration for a kind of model."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.data.name = "text"
    config.data.length = 64
    config.data.vocab_size = 1_024
    config.data.tokenizer_kind = "bpe"
    config.data.cut = True
    config.data.num_classes = 0
    # Denoisers are narrower, since modulation by time adds parameters: all variants have about 1.9 million.
    wide = sections.transformer(dim=176, layers=4, head_dim=44)
    config.network = wide if variant == "autoregressive" else sections.transformer(dim=128, layers=3, head_dim=32)
    if variant == "blocks":
        presets.blocks(config, size=1, layers=1)
        config.sample.steps = 10
    else:
        presets.captioning(config, variant)
    presets.small_run(config, steps=2_500, batch_size=32)
    config.optimizer.name = "muon"
    if variant == "softmax":
        config.diffusion.lag = 16.0
        config.sample.update(lag=16.0, steps=64, td=0.0)
    config.evaluate.num_samples = 1_000
    return config
