"""Your own text: every line of a file is a sequence of tokens.

    python -m bitdiff.train --config configs/text.py --workdir runs/text --config.data.path=lines.txt

A SentencePiece model of 1,000 pieces is trained on the file itself; `--config.data.tokenizer=some.model
--config.data.vocab_size=0` uses another. Lines of more than 64 tokens are an error: `--config.data.cut=True` truncates
them, and `--config.data.length=128` raises the limit.

Variants: bits (the default), softmax (a softmax over the vocabulary, trained with cross-entropy), autoregressive.
Hardware: one GPU, a few hours; not yet run. The paper does not use such data.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "bits") -> ml_collections.ConfigDict:
    """The configuration for a kind of model."""
    presets.check_variant(__file__, variant, ("small", *presets.CAPTION_MODELS))
    config = base_config()
    config.data.name = "text"
    config.data.length = 64
    config.data.vocab_size = 1_000
    config.data.num_classes = 0
    if variant == "small":
        _small(config)
        return config
    config.network = sections.transformer()
    presets.medium_run(config)
    presets.captioning(config, variant)
    config.diffusion.label_dropout = 0.0
    config.evaluate.num_samples = 1_000
    return config


def _small(config: ml_collections.ConfigDict) -> None:
    """Sets a run of a few minutes on two CPU cores, for a few thousand simple lines."""
    config.data.length = 0
    config.network = sections.transformer(dim=96, layers=3, head_dim=32)
    presets.captioning(config, "softmax")
    presets.small_run(config, steps=4_000, batch_size=64)
    config.optimizer.name = "muon"
    config.diffusion.lag = 8.0
    config.sample.lag = 8.0
    config.sample.steps = 100
    config.sample.td = 0.0
    config.evaluate.num_samples = 1_000
