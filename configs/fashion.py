r"""Class-conditional models of Fashion-MNIST: 70,000 images of clothing with 256 gray levels.

    apt-get install dataset-fashion-mnist
    python -m bitdiff.train --config configs/fashion.py:small --workdir runs/fashion
    python -m bitdiff.train_judge --config fashion:small --out judge.npz
    python -m bitdiff.evaluate --workdir runs/fashion --judge judge.npz --sampler ddpm --steps 200 --guidance 0.05

Debian's package has the files; elsewhere, set config.data.path to a folder with the four IDX files, as published for
MNIST, Fashion-MNIST, KMNIST and EMNIST, or use TFDS with --config.data.name=tfds --config.data.builder=fashion_mnist
--config.data.path= --config.data.train_split=train --config.data.test_split=test.

Variants: full (the default; 28 x 28 pixels, padded to 32) and small (averaged to 14 x 14, for a CPU); each also with a
suffix: _masked (masked diffusion), _distilled (a student of a run, as in mixture.py), _disco (with discrete latents)
and _prior (an autoregressive prior over the latents of a run of _disco, as in digits_disco.py). The papers do not use
this data set. The default, 40 DDIM steps, is faster than the sampler in the last command above, but gives worse
samples. Training `small` takes two and a quarter hours on one core (an AMD EPYC, Zen 4), or a third of that with
--config.train.steps=32000. `full` has not been trained. For digits or letters, set --config.data.flip=False; for data
with other classes, set config.data.num_classes. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

MODELS = ("", "_masked", "_distilled", "_disco", "_prior")
VARIANTS = tuple(f"{size}{model}" for size in ("full", "small") for model in MODELS)


def get_config(variant: str = "full") -> ml_collections.ConfigDict:
    """The configuration for a size and a model."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.data.name = "idx"
    config.data.path = "/usr/share/datasets/fashion-mnist"
    config.data.channels = 1
    config.data.vocab_size = 256
    config.data.num_classes = 10
    config.diffusion.label_dropout = 0.1
    if variant.startswith("full"):
        config.data.image_size = 32
        config.data.resize = "pad"
        config.data.flip = True
        config.network = sections.unet(dim=128, multipliers=(1, 2, 2), blocks=2, attention_resolutions=(16, 8))
        config.train.steps = 100_000
    else:
        config.data.image_size = 14
        config.data.resize = "box"
        config.network = sections.unet(dim=32, multipliers=(1, 2), blocks=1, attention_resolutions=())
        presets.small_run(config, steps=100_000, batch_size=16)
        config.optimizer.learning_rate = 4e-3
        config.optimizer.ema_decay = 0.999
        config.checkpoint.every_steps = 2_000
        config.train.sample_every_steps = 4_000
    config.sample.steps = 40
    config.evaluate.num_samples = 2_000
    if variant.endswith("masked"):
        presets.masked(config)
    if variant.endswith("distilled"):
        presets.distillation(config, steps=config.train.steps // 4)
    if variant.endswith(("disco", "prior")):
        _latents(config, small=variant.startswith("small"))
    if variant.endswith("prior"):
        presets.second_stage(config, "autoregressive")
        config.network = sections.transformer(dim=64, layers=2, head_dim=32)
        presets.small_run(config, steps=1_500, batch_size=128)
        config.train.sample_every_steps = 0
    return config


def _latents(config: ml_collections.ConfigDict, *, small: bool) -> None:
    """Adds discrete latents; they modulate the layers of the small U-Net, while the full one attends to them."""
    config.latents.count = 4 if small else 10
    config.latents.codes = 8 if small else 100
    if small:
        config.latents.route = "modulation"
        config.latents.encoder = sections.latent_encoder(kind="mlp", dim=64, layers=3)
        config.latents.embed = sections.latent_transformer(dim=64, layers=0)
    else:
        config.latents.encoder = sections.latent_encoder(patch=4, dim=192, layers=6)
        config.latents.embed = sections.latent_transformer(layers=2)
