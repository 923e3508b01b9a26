r"""DisCo-Diff on scikit-learn's digits: EDM on pixels and Bit Diffusion, each without and with discrete latents.

    python -m bitdiff.train --config configs/digits_disco.py:disco --workdir runs/digits_disco
    python -m bitdiff.train --config configs/digits_disco.py:prior --workdir runs/digits_prior \
        --config.first_run=runs/digits_disco
    python -m bitdiff.evaluate --workdir runs/digits_prior

Variants, first stages: plain (without a variant; EDM), disco (EDM with 4 latents of 8 values), hierarchical (with 2
groups of 2 latents), binary (with 12 latents that are bits); bits and bits_disco (Bit Diffusion of digits.py, without
and with 4 latents of 8 values). Second stages: prior (autoregressive, of disco), prior_bits (Bit Diffusion, of binary),
bits_prior (autoregressive, of bits_disco). Another first stage than these can be given by `--config.first_run`, of
one kind (EDM or Bit Diffusion). Evaluating a first stage takes its latents from test images ("oracle"), evaluating
a second stage generates them. Heun's N steps are 2 N - 1 evaluations.

Hardware: two CPU cores; in minutes of one core plain 7, disco 10, binary 10, a prior 2. The paper has no such data.
Seeds 0, 1, 2, 2,000 samples each: Frechet distance over pixels (real test images 0.114) and accuracy of a classifier
(real 99.2 %):

    evaluations                       5                     9                     19
    plain                             9.2 +- 0.6   61 %     0.616 +- 0.028   97 %   0.111 +- 0.001   96.9 %
    disco, latents of test images     8.0 +- 1.4   63 %     0.607 +- 0.028   95 %   0.116 +- 0.005   97.5 %
    prior, latents generated          7.9 +- 1.4   64 %     0.600 +- 0.025   96 %   0.106 +- 0.002   97.5 %
    binary, seed 0 (latents oracle)   7.9          73 %     0.636            96 %   0.123            97.2 %
    prior_bits, seed 0                8.0          73 %     0.631            97 %   0.111            96.5 %

The latents hold 4.8 nats of the 8.3 that they could, and take a quarter off the loss at t = 0.95, 12 % at 0.75 and
nothing at 0.05. The distance is lower with generated latents than without for every seed at 9 and 19 evaluations, by
little; of 5 evaluations nothing but noise comes, with latents as without.

Bit Diffusion, seed 0, DDIM steps: the distance and accuracy, with and without self-conditioning
(`--config.diffusion.self_cond_rate=0`):

    steps                                    5               10              20              40
    bits                                     0.260  99.4 %   0.205  99.3 %   0.168  98.6 %   0.149  98.8 %
    bits_disco, latents of test images       0.151  99.3 %   0.137  99.2 %   0.134  98.6 %   0.140  98.6 %
    bits_prior, latents generated            0.138  99.3 %   0.128  99.1 %   0.124  98.8 %
    bits, without self-conditioning          0.191  97.7 %   0.172  96.9 %   0.152  96.8 %
    bits_disco, the same                     0.148  98.0 %   0.140  97.9 %   0.137  97.8 %
    bits_prior, the same                     0.130  98.2 %   0.129  97.3 %   0.131  98.1 %

So latents bring five steps below forty without, and help with self-conditioning as without it; self-conditioning buys
accuracy. They take 4 % off the loss at t = 0.55, 7 % at 0.75 and 9 % at 0.95, nothing below 0.4.

Values are relaxed in training, as in the paper: with one-hot values (`--config.latents.straight_through=True`) the
latents of a run of 600 steps held 1.6 nats, not 2.7. The encoder is an MLP: from a small ViT (patches of 2, 2 layers)
it was 0.9. Before the U-Net's ear for latents began near zero, the ViT's latents were all the same.
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
    """The configuration of a first or second stage."""
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
