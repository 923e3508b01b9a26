r"""DisCo-Diff's toy example: EDM on eight Gaussians on a ring, with and without one latent of eight values.

    python -m bitdiff.train --config configs/toy_disco.py:plain --workdir runs/toy_plain
    python -m bitdiff.train --config configs/toy_disco.py:disco --workdir runs/toy_disco
    python -m bitdiff.train --config configs/toy_disco.py:prior --workdir runs/toy_prior \
        --config.first_run=runs/toy_disco
    python -m bitdiff.trajectories --workdirs runs/toy_plain,runs/toy_disco --out trajectories.png

Variants: plain (the default), disco (the denoiser with its latent's encoder), prior (the second stage, which
generates the latent). Evaluating `disco` infers latents from test points; evaluating `prior` generates them. With
relaxed values in training, the loss was lower (0.68 to 0.70) and the trajectories straighter (curvature 0.14 to
0.16), but a mode was lost (total variation 0.11; commit 075c16b). Hardware: two CPU cores, under two minutes each.
Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = ("plain", "disco", "prior")


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration for one of VARIANTS."""
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
    # With relaxed values, a mode can be encoded as a mixture of two codes; such a mode is never generated.
    config.latents.straight_through = True
    config.latents.encoder = sections.latent_encoder(kind="mlp", dim=128, layers=3)
    config.latents.embed = sections.latent_transformer(dim=16, layers=0)
    if variant == "prior":
        presets.second_stage(config, "autoregressive")
        config.network = sections.transformer(dim=32, layers=1, head_dim=16)
        presets.small_run(config, steps=500, batch_size=256)
    return config
