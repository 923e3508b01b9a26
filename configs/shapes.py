"""Captions of drawn shapes: what a picture shows is known, so a parser can decide which captions are true.

    python -m bitdiff.train --config configs/shapes.py --workdir runs/shapes

Each picture shows two groups of shapes and has six captions, which state each group's count, size, color and shape and
how the groups are arranged. Every test picture shows a kind of group never seen in training. Variants: blocks (the
default; softmax bits, one token at a time), softmax (a softmax over the vocabulary, trained with cross-entropy) and
bits (the paper's linear output with l2 loss), both all tokens at once with positions that lag, masked (masked
diffusion), and autoregressive. With latents, denoising all tokens at once works as well: see shapes_disco.py. Hardware:
one CPU core, about 24 minutes (autoregressive: 9). The table by steps and td, for a run of the variant softmax:

    python -m bitdiff.sweep --workdir runs/shapes --num_samples 300 --steps 5,10,20,40 --td 0,1,2,3,4,5,6,7,8 --lag 0

The paper does not use this data set. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "blocks") -> ml_collections.ConfigDict:
    """The configuration for a kind of model."""
    presets.check_variant(__file__, variant, (*presets.CAPTION_MODELS, "blocks", "masked"))
    config = base_config()
    config.data.name = "shapes"
    config.data.image_size = 32
    config.data.channels = 3
    config.data.length = 13
    config.data.captions = 6
    config.data.captions_drawn = 4
    config.data.curriculum_steps = 600
    config.data.vocab_size = 31
    config.data.num_classes = 0
    config.encoder = sections.vit(patch=8, dim=128, layers=1, head_dim=32, stem=(64, 128, 128))
    config.network = sections.transformer(dim=128, layers=3, head_dim=32)
    steps = {"autoregressive": 1_200, "blocks": 2_000}.get(variant, 3_300)
    presets.small_run(config, steps=steps, batch_size=32)
    config.optimizer.name = "muon"
    config.optimizer.learning_rate = 2e-3
    if variant == "blocks":
        presets.blocks(config, size=1, layers=1)
        config.sample.steps = 10
    else:
        presets.captioning(config, "softmax" if variant == "masked" else variant)
    # Noisier than the sampling schedule: the content of a caption is decided at high noise.
    config.diffusion.schedule_options.update(start=0.0, end=1.0, tau=3.0)
    if variant == "masked":
        config.bits.encoding = "one_hot"
        presets.masked(config)
        config.sample.steps = 40
    if variant in ("bits", "softmax"):
        config.diffusion.lag = 24.0
        config.sample.lag = 16.0
        config.sample.td = 2.0
        config.sample.steps = 40
    config.sample.batch_size = 64
    config.evaluate.num_samples = 2_000
    return config
