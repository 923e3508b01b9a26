r"""DisCo-Diff's toy: eight Gaussians on a ring, by EDM without and with one latent of eight values.

    python -m bitdiff.train --config configs/toy_disco.py:plain --workdir runs/toy_plain
    python -m bitdiff.train --config configs/toy_disco.py:disco --workdir runs/toy_disco
    python -m bitdiff.train --config configs/toy_disco.py:prior --workdir runs/toy_prior \
        --config.first_run=runs/toy_disco
    python -m bitdiff.trajectories --workdirs runs/toy_plain,runs/toy_disco --out trajectories.png

Variants: plain (without a variant), disco (the denoiser with its latent's encoder), prior (the second stage, which
generates the latent). Evaluating `disco` takes latents from test points, evaluating `prior` generates them. Hardware:
two CPU cores, each under two minutes (70 s of one core, `prior` 15 s).

Seeds 0, 1, 2; `disco` with latents of test points, `prior` with its own; the paper gives the distances alone:

                              plain               disco               prior              paper (plain, DisCo)
    training loss             1.94  1.94  1.94    0.92  0.82  0.89
    curvature, 0.2 < s < 2    0.97  1.01  0.97    0.35  0.26  0.26    0.37  0.28  0.31
    2-Wasserstein distance    0.35  0.32  0.38    0.20  0.13  0.14    0.35  0.27  0.28   0.27, 0.118
    outliers, %               1.3   1.7   1.2     1.4   1.0   1.3     1.4   1.4   1.4
    total variation of modes  .010  .021  .021    .008  .008  .007    .011  .008  .010
    codes in use                                  6     7     7

True points have 0.03 % outliers, and a distance of 0.07 where all modes are alike. With relaxed values in training the
loss was lower (0.68 to 0.70) and the ways straighter (0.14 to 0.16), but a mode got lost (total variation 0.11).
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = ("plain", "disco", "prior")


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration of one of VARIANTS."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.task = "points"
    config.data.name = "gaussians"
    config.data.channels = 2
    config.data.num_classes = 0
    config.data.prefetch_batches = 2
    config.network = sections.mlp(dim=128, layers=4)
    presets.edm(config, sigma_data=0.5, steps=50)
    presets.small_run(config, steps=6_000, batch_size=256)
    config.optimizer.warmup_steps = 0
    config.optimizer.schedule = "constant"
    config.train.sample_every_steps = 0
    config.checkpoint.every_steps = 2_000
    config.sample.batch_size = 2_000
    config.evaluate.num_samples = 8_000
    if variant == "plain":
        return config
    config.latents.count = 1
    config.latents.codes = 8
    # Relaxed values let a mode be a mixture of two codes, which no draw is: then it is never generated.
    config.latents.straight_through = True
    config.latents.encoder = sections.latent_encoder(kind="mlp", dim=128, layers=3)
    config.latents.embed = sections.latent_transformer(dim=16, layers=0)
    if variant == "prior":
        presets.second_stage(config, "autoregressive")
        config.network = sections.transformer(dim=32, layers=1, head_dim=16)
        presets.small_run(config, steps=500, batch_size=256)
    return config
