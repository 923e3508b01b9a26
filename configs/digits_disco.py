r"""DisCo-Diff on scikit-learn's digits: EDM on pixels and Bit Diffusion, each without and with discrete latents.

    python -m bitdiff.train --config configs/digits_disco.py:disco --workdir runs/digits_disco
    python -m bitdiff.train --config configs/digits_disco.py:prior --workdir runs/digits_prior \
        --config.first_run=runs/digits_disco
    python -m bitdiff.evaluate --workdir runs/digits_prior

Variants, first stages: plain (without a variant; EDM), disco (EDM with 4 latents of 8 values), hierarchical (with 2
groups of 2 latents), binary (with 12 latents that are bits); bits and bits_disco (Bit Diffusion of digits.py, without
and with 4 latents of 8 values). Second stages: prior (autoregressive, of disco), prior_bits (Bit Diffusion, of binary).
Another first stage than these can be given by `--config.first_run`. Evaluating a first stage with latents takes them
from test images ("oracle"), evaluating a second stage generates them. Heun's N steps are 2 N - 1 evaluations.

Hardware: two CPU cores; plain 7, disco 10 minutes of one, prior 1. The paper has no such data. Results: not yet run,
but for plain (seed 0, 2,000 samples, in 5, 9 and 19 evaluations): Frechet distance over pixels 9.94, 0.636 and 0.111
(real test images 0.114), accuracy of a classifier 51.4, 96.7 and 97.2 % (real 99.2 %).

The encoder is an MLP: with a small ViT (as for ImageNet, patches of 2, 2 layers, class tokens that begin at zero) all
test images had one and the same latents after 500 as after 2,500 steps, and the samples were those of plain.
"""

import ml_collections

from configs import common, digits

FIRST = {
    "plain": {},
    "disco": {"count": 4, "codes": 8},
    "hierarchical": {"count": 4, "codes": 8, "groups": 2},
    "binary": {"count": 12, "codes": 2},
    "bits": {},
    "bits_disco": {"count": 4, "codes": 8},
}
SECOND = {"prior": ("disco", "autoregressive"), "prior_bits": ("binary", "bits")}


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration of a first or second stage."""
    common.check_variant(__file__, variant, (*FIRST, *SECOND))
    if variant in SECOND:
        first, model = SECOND[variant]
        config = get_config(first)
        common.second_stage(config, model)
        config.network = common.transformer(dim=64, layers=2, head_dim=32)
        common.small_run(config, steps=1_500, batch_size=128)
        config.train.sample_every_steps = 0
        return config
    config = digits.get_config()
    config.network.attention_resolutions = (8, 4)
    config.network.head_dim = 32
    if not variant.startswith("bits"):
        config.bits.encoding = "continuous"
        common.edm(config, sigma_data=0.75, steps=10)
    config.latents.update(FIRST[variant])
    config.latents.encoder = common.latent_encoder(kind="mlp", dim=64, layers=3)
    config.latents.embed = common.latent_transformer(dim=64, layers=1, head_dim=32)
    config.train.sample_every_steps = 0
    return config
