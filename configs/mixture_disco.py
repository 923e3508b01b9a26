r"""Discrete latents inside Bit Diffusion, on token pairs from a known distribution over 256 states.

    python -m bitdiff.train --config configs/mixture_disco.py:disco --workdir runs/mixture_disco
    python -m bitdiff.train --config configs/mixture_disco.py:prior --workdir runs/mixture_prior \
        --config.first_run=runs/mixture_disco
    python -m bitdiff.sweep --workdir runs/mixture_prior --steps 2,5,10,20,40

Variants: plain (the default), disco (with a latent of 2 values), prior (for disco, autoregressive); each also with
`--config.diffusion.self_cond_rate=0`. Hardware: one CPU core, five minutes each. Neither paper trains such a model.
Results: configs/README.md.
"""

import ml_collections

from bitdiff.configs import mixture
from bitdiff.configuration import presets, sections

VARIANTS = ("plain", "disco", "prior")


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration for one of VARIANTS."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = mixture.get_config()
    config.train.sample_every_steps = 0
    if variant == "plain":
        return config
    config.latents.count = 1
    config.latents.codes = 2
    config.latents.kl = 0.005
    config.latents.straight_through = True
    config.latents.encoder = sections.latent_encoder(kind="mlp", dim=64, layers=3)
    config.latents.embed = sections.latent_transformer(dim=64, layers=0)
    if variant == "prior":
        presets.second_stage(config, "autoregressive")
        config.network = sections.transformer(dim=32, layers=1, head_dim=16)
        presets.small_run(config, steps=500, batch_size=256)
        config.optimizer.name = "adam"
        config.train.sample_every_steps = 0
    return config
