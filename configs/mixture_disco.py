r"""Discrete latents inside Bit Diffusion, on token pairs from a known distribution over 256 states.

    python -m bitdiff.train --config configs/mixture_disco.py:disco --workdir runs/mixture_disco
    python -m bitdiff.train --config configs/mixture_disco.py:prior --workdir runs/mixture_prior \
        --config.first_run=runs/mixture_disco
    python -m bitdiff.sweep --workdir runs/mixture_prior --steps 2,5,10,20,40

Variants: plain (without a variant), disco (with a latent of 8 values), prior (of it, autoregressive). Add
`--config.diffusion.self_cond_rate=0` for the other half of the two by two table. Hardware: two CPU cores, a minute or
two each. Neither paper has such a model. Seed 0 alone: total variation (floor 0.031) and share of sharp bits:

    steps                       2              5              10             20             40
    plain                       0.194   18 %   0.105   88 %   0.095   97 %   0.089   99 %   0.081   100 %
    disco, latents of test set  0.283   47 %   0.156   91 %   0.125   98 %   0.113  100 %   0.096   100 %
    prior, latents generated    0.287   47 %   0.150   91 %   0.122   98 %   0.111  100 %   0.105   100 %
    without self-conditioning:
    plain                       0.183   18 %   0.111   89 %   0.097   97 %   0.090   99 %   0.085   100 %
    disco, latents of test set  0.258   49 %   0.140   92 %   0.119   98 %   0.101  100 %   0.098   100 %
    prior, latents generated    0.260   48 %   0.137   92 %   0.109   98 %   0.104  100 %   0.093   100 %

The latent takes 24 to 30 % off the loss at every t above 0.2 and makes bits sharper at few steps, but the samples
are no nearer to the distribution: they are further from it.
"""

import ml_collections

from configs import common, mixture

VARIANTS = ("plain", "disco", "prior")


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration of one of VARIANTS."""
    common.check_variant(__file__, variant, VARIANTS)
    config = mixture.get_config()
    config.train.sample_every_steps = 0
    if variant == "plain":
        return config
    config.latents.count = 1
    config.latents.codes = 8
    config.latents.straight_through = True
    config.latents.encoder = common.latent_encoder(kind="mlp", dim=64, layers=3)
    config.latents.embed = common.latent_transformer(dim=64, layers=0)
    if variant == "prior":
        common.second_stage(config, "autoregressive")
        config.network = common.transformer(dim=32, layers=1, head_dim=16)
        common.small_run(config, steps=500, batch_size=256)
        config.train.sample_every_steps = 0
    return config
