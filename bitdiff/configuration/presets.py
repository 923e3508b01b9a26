"""Settings that several configurations share."""

from collections.abc import Iterable
from pathlib import Path

import ml_collections

from bitdiff.configuration import sections
from bitdiff.configuration.base import base_config
from bitdiff.runtime.errors import UsageError

BIT_ENCODINGS = ("uint", "gray", "uint_rand", "one_hot")
PAPER_ENCODINGS = ("uint", "gray", "uint_rand", "continuous")
CAPTION_MODELS = ("bits", "softmax", "autoregressive")


def edm(config: ml_collections.ConfigDict, *, sigma_data: float, steps: int) -> None:
    """Sets EDM's diffusion and sampler (Karras et al. 2022); Heun's method takes 2 * steps - 1 network evaluations."""
    config.diffusion.sigma_data = sigma_data
    config.diffusion.schedule = "lognormal"
    config.diffusion.self_cond_rate = 0.0
    config.sample.sampler = "heun"
    config.sample.schedule = "karras"
    config.sample.endpoint = True
    config.sample.steps = steps


def second_stage(config: ml_collections.ConfigDict, model: str) -> None:
    """Turns a first stage's config into that of a prior over its latents: autoregressive, bits or pointers."""
    config.first = config.copy_and_resolve_references()
    config.task = "prior"
    config.prior.model = model
    defaults = base_config()
    config.diffusion = defaults.diffusion
    config.bits = defaults.bits
    config.prior.sample.sampler = "ddpm" if model == "bits" else "random"
    config.prior.sample.steps = 40 if model == "bits" else 0


def distillation(config: ml_collections.ConfigDict, *, steps: int) -> None:
    """Turns a teacher's config into a student's, trained for `steps` steps, sampled in distillation.steps steps.

    The learning rate is a quarter of the config's, since a student starts from trained weights, and decays linearly to
    0, as in Salimans and Ho (2022).
    """
    config.first = config.copy_and_resolve_references()
    config.task = "distillation"
    config.sample.update(sampler="ddim", td=0.0)
    config.sample.steps = config.distillation.get_oneway_ref("steps")  # follows a change on the command line
    config.train.steps = steps
    config.train.sample_every_steps = 0
    config.optimizer.learning_rate /= 4.0
    config.optimizer.schedule = "linear"


def confidence(config: ml_collections.ConfigDict) -> None:
    """Turns the config of a docking model into that of a confidence model, which ranks its poses."""
    config.first = config.copy_and_resolve_references()
    config.task = "confidence"


def paper_encoding(config: ml_collections.ConfigDict, encoding: str, *, dropout: float) -> None:
    """Sets one of PAPER_ENCODINGS and the options used with it in the paper's image tables.

    uint_rand uses the factorized softmax head; continuous pixels are predicted as eps, with dropout.
    """
    config.bits.encoding = encoding
    if encoding == "uint_rand":
        config.diffusion.head = "factorised_softmax"
        config.network.out_size = 1
    if encoding == "continuous":
        config.diffusion.prediction = "eps"
        config.network.dropout = dropout


def masked(config: ml_collections.ConfigDict) -> None:
    """Turns the config of Bit Diffusion of images or tokens into one of masked diffusion on the same network."""
    config.task = "masked"
    kept = {name: config.diffusion[name] for name in ("label_dropout", "image_dropout")}
    config.diffusion = base_config().diffusion
    config.diffusion.update(self_cond_rate=0.0, **kept)
    config.sample.update(sampler="ancestral", td=0.0, lag=0.0)


def captioning(config: ml_collections.ConfigDict, model: str) -> None:
    """Sets the options in which the CAPTION_MODELS differ.

    'bits' is the paper's linear output; 'softmax' averages the codes of the tokens under a softmax over the vocabulary.
    """
    config.task = "autoregressive" if model == "autoregressive" else "tokens"
    if model == "autoregressive":
        config.sample.sampler = "beam" if config.encoder else "random"  # without a picture, all beams would be the same
        config.sample.steps = 0
        return
    config.network.embed_layers = 2
    config.sample.steps = 10
    config.sample.td = 5.0
    if model == "softmax":
        config.diffusion.head = "factorised_softmax"
        config.diffusion.loss = "cross_entropy"


def blocks(config: ml_collections.ConfigDict, *, size: int, layers: int) -> None:
    """Configures softmax bits in blocks of `size` tokens, with a denoiser of `layers` layers."""
    captioning(config, "softmax")
    config.task = "blocks"
    config.network.embed_layers = 1
    config.blocks.size = size
    options = {name: config.network[name] for name in ("dim", "head_dim", "mlp_ratio", "dropout")}
    config.blocks.head = sections.transformer(layers=layers, embed_layers=2, **options)
    config.sample.td = 0.0


def small_run(config: ml_collections.ConfigDict, *, steps: int, batch_size: int) -> None:
    """Sets what a run of a few minutes needs: a high learning rate that decays, and a short moving average."""
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.995
    config.train.steps = steps
    config.train.batch_size = batch_size
    config.train.sample_every_steps = 1_000
    config.checkpoint.every_steps = 500


def small_images(config: ml_collections.ConfigDict) -> None:
    """Sets a small U-Net and a run of a few minutes on two CPU cores, for images of up to about 16 x 16."""
    config.network = sections.unet(dim=24, multipliers=(1, 2), blocks=1, attention_resolutions=())
    config.diffusion.label_dropout = 0.1
    small_run(config, steps=1_300, batch_size=32)
    config.optimizer.learning_rate = 2e-3
    config.sample.steps = 40
    config.evaluate.num_samples = 1_000


def medium_run(config: ml_collections.ConfigDict) -> None:
    """Sets what suits a run of a few hours on one GPU; labels are dropped in training so that guidance works."""
    config.diffusion.label_dropout = 0.1
    config.optimizer.learning_rate = 2e-4
    config.optimizer.warmup_steps = 1_000
    config.optimizer.ema_decay = 0.999
    config.train.steps = 50_000
    config.train.sample_every_steps = 1_000
    config.checkpoint.every_steps = 1_000


def check_variant(file: str, variant: str, variants: Iterable[str]) -> None:
    """Raises UsageError with the valid names if `variant` is not one of the variants of a config file."""
    variants = tuple(variants)
    if variant not in variants:
        names = ", ".join(variants) if variants else "none"
        raise UsageError(f"unknown variant {variant!r} of configs/{Path(file).name}; its variants: {names}")
