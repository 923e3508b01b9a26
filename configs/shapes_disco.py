r"""Captions of drawn shapes with discrete latents that choose among a picture's captions.

    python -m bitdiff.train --config configs/shapes_disco.py:softmax --workdir runs/shapes_disco
    python -m bitdiff.train --config configs/shapes_disco.py:prior --workdir runs/shapes_prior \
        --config.first_run=runs/shapes_disco
    python -m bitdiff.evaluate --workdir runs/shapes_prior

A picture has six equally good captions, and a model that denoises all tokens at once mixes their words. Here an encoder
infers latents from the caption, in training only, and a prior generates them given the picture. First stages: softmax
(the default) and bits, as in shapes.py but without a lag. Second stages: prior (autoregressive, for softmax),
prior_bits (Bit Diffusion, for softmax) and bits_prior (autoregressive, for bits). Evaluating a first stage infers the
latents from a true caption of each test picture; evaluating a second stage generates them.

The encoder sees a bag of tokens, whose "above" or "below" does not depend on the form of the caption. The latents
modulate all layers. The curriculum presents both orders of one form before the other forms; it relies on captions
that are listed in the same order for every picture. A small divergence to uniform latents keeps unused values alive.
configs/README.md has an ablation, and what each code means. Hardware: one CPU core, about 15 minutes. Neither paper
trains such a model. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configs import shapes
from bitdiff.configuration import presets, sections

FIRST = ("bits", "softmax")
SECOND = {
    "prior": ("softmax", "autoregressive"),
    "prior_bits": ("softmax", "bits"),
    "bits_prior": ("bits", "autoregressive"),
}


def get_config(variant: str = "softmax") -> ml_collections.ConfigDict:
    """The configuration for a first stage or a prior."""
    presets.check_variant(__file__, variant, (*FIRST, *SECOND))
    if variant in SECOND:
        first, model = SECOND[variant]
        config = get_config(first)
        presets.second_stage(config, model)
        config.encoder.update(dim=64, layers=1, stem=(16, 32, 64))
        config.network = sections.transformer(dim=64, layers=1, head_dim=32)
        config.optimizer.name = "adam"
        config.data.captions_drawn = 0
        config.data.curriculum_steps = 0
        presets.small_run(config, steps=300, batch_size=32)
        return config
    config = shapes.get_config(variant)
    config.diffusion.lag = 0.0
    config.sample.lag = 0.0
    config.sample.steps = 10
    config.train.steps = 2_400
    config.data.captions_drawn = 2
    config.data.curriculum_steps = 1_200
    config.latents.count = 5
    config.latents.codes = 2
    config.latents.kl = 0.005
    config.latents.route = "modulation"
    config.latents.encoder = sections.latent_encoder(kind="bag", dim=128, layers=3)
    config.latents.embed = sections.latent_transformer(dim=128, layers=0)
    return config
