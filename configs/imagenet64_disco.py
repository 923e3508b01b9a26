r"""ImageNet 64 x 64 with EDM and DisCo-Diff, at the paper's size.

    python -m bitdiff.prepare --config configs/imagenet64_disco.py
    python -m bitdiff.train --config configs/imagenet64_disco.py:disco --workdir runs/imagenet64_disco
    python -m bitdiff.train --config configs/imagenet64_disco.py:prior --workdir runs/imagenet64_prior \
        --config.first_run=runs/imagenet64_disco

Variants: edm (the default), disco (10 latents of 100 values), hierarchical (3 groups of 10), binary (67 latents that
are bits, as much information as 10 latents of 100 values), prior (for disco), and prior_bits (Bit Diffusion, for
binary). Adam's warm-up, the batch size of 4096 and 192 x (1, 2, 3, 4) channels with attention at 32, 16 and 8 are
EDM's; the U-Net is Analog Bits', not ADM's, so numbers will differ from EDM's. 40 steps of Heun's method are 79 network
evaluations. See configs/imagenet64.py for which "ImageNet 64 x 64" this is.

Hardware: EDM's paper used 32 A100s. On a GPU or TPU, add `--config.network.dtype=bfloat16`. At full size (disco, 359 M
parameters), three training steps on 2 random pictures, and sampling, ran on a CPU: 16 GB, 45 s per step alongside other
runs (commit dfc3e62). Results: configs/README.md.
"""

import ml_collections

from bitdiff.configs import imagenet64
from bitdiff.configuration import presets, sections

FIRST = {
    "edm": {},
    "disco": {"count": 10, "codes": 100},
    "hierarchical": {"count": 30, "codes": 100, "groups": 3},
    "binary": {"count": 67, "codes": 2},
}
SECOND = {"prior": ("disco", "autoregressive"), "prior_bits": ("binary", "bits")}


def get_config(variant: str = "edm") -> ml_collections.ConfigDict:
    """The configuration for a first or second stage."""
    presets.check_variant(__file__, variant, (*FIRST, *SECOND))
    if variant in SECOND:
        first, model = SECOND[variant]
        config = get_config(first)
        presets.second_stage(config, model)
        config.network = sections.transformer(dim=512, layers=12, head_dim=64)
        config.optimizer.learning_rate = 1e-4
        config.train.steps = 200_000
        config.train.batch_size = 1024
        return config
    config = imagenet64.get_config("continuous_cond")
    config.diffusion.prediction = "x0"
    config.network.attention_resolutions = (32, 16, 8)
    config.network.dropout = 0.1
    presets.edm(config, sigma_data=0.5, steps=40)
    config.latents.update(FIRST[variant])
    config.latents.encoder = sections.latent_encoder()
    config.latents.embed = sections.latent_transformer()
    config.optimizer.learning_rate = 1e-4
    config.optimizer.warmup_steps = 2_500  # 10 M images
    config.optimizer.ema_decay = 0.99994  # a half-life of 50 M images
    config.train.batch_size = 4096
    config.train.steps = 600_000
    return config
