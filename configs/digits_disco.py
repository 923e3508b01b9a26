r"""DisCo-Diff on scikit-learn's digits: EDM on pixels and Bit Diffusion, each with and without discrete latents.

    python -m bitdiff.train --config configs/digits_disco.py:disco --workdir runs/digits_disco
    python -m bitdiff.train --config configs/digits_disco.py:prior --workdir runs/digits_prior \
        --config.first_run=runs/digits_disco
    python -m bitdiff.evaluate --workdir runs/digits_prior

First stages: plain (the default; EDM), disco (EDM with 4 latents of 8 values), hierarchical (with 2 groups of 2
latents), binary (with 12 latents that are bits); bits and bits_disco (Bit Diffusion of digits.py, without and with 4
latents of 8 values). Second stages: prior (autoregressive, for disco), prior_bits (Bit Diffusion, for binary),
bits_prior (autoregressive, for bits_disco). `--config.first_run` may be another first stage of the same kind (EDM or
Bit Diffusion). Evaluating a first stage infers its latents from test images; evaluating a second stage generates
them. N steps of Heun's method are 2 N - 1 network evaluations.

Latents are relaxed in training, as in the paper: with one-hot values (`--config.latents.straight_through=True`),
those of a 600-step run carried 1.6 nats instead of 2.7. The encoder is an MLP: with a small ViT (patch size 2, 2
layers), they carried 0.9 (commit 6c13049).

Hardware: two CPU cores; on one core, plain takes 7 minutes, disco and binary 10, a prior 2. The paper does not
use this data set. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configs import digits
from bitdiff.configuration import presets, sections

FIRST = {
    "plain": {},
    "disco": {"count": 4, "codes": 8},
    "hierarchical": {"count": 4, "codes": 8, "groups": 2},
    "binary": {"count": 12, "codes": 2},
    "bits": {},
    "bits_disco": {"count": 4, "codes": 8},
}
SECOND = {
    "prior": ("disco", "autoregressive"),
    "prior_bits": ("binary", "bits"),
    "bits_prior": ("bits_disco", "autoregressive"),
}


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration for a first or second stage."""
    presets.check_variant(__file__, variant, (*FIRST, *SECOND))
    if variant in SECOND:
        first, model = SECOND[variant]
        config = get_config(first)
        presets.second_stage(config, model)
        config.network = sections.transformer(dim=64, layers=2, head_dim=32)
        presets.small_run(config, steps=1_500, batch_size=128)
        config.train.sample_every_steps = 0
        return config
    config = digits.get_config()
    config.network.attention_resolutions = (8, 4)
    config.network.head_dim = 32
    if not variant.startswith("bits"):
        config.bits.encoding = "continuous"
        presets.edm(config, sigma_data=0.75, steps=10)
    config.latents.update(FIRST[variant])
    config.latents.encoder = sections.latent_encoder(kind="mlp", dim=64, layers=3)
    config.latents.embed = sections.latent_transformer(dim=64, layers=1, head_dim=32)
    config.train.sample_every_steps = 0
    return config
