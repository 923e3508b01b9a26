"""Every field of a configuration, with the value that most of them share.

A config file starts from `base()` and sets what differs, so a default is written once, here or there.
Durations end in `_steps`. On the command line: `--config.train.steps=2000`.
"""

from collections.abc import Iterable
from pathlib import Path

import ml_collections

BIT_ENCODINGS = ("uint", "gray", "uint_rand", "one_hot")
PAPER_ENCODINGS = ("uint", "gray", "uint_rand", "continuous")
CAPTION_MODELS = ("bits", "softmax", "autoregressive")


def base() -> ml_collections.ConfigDict:
    """A configuration without data; sizes of 0 are taken from the data when a run starts."""
    config = ml_collections.ConfigDict()
    config.task = "images"  # images | tokens | points | autoregressive (the baseline for tokens) | prior (of latents)
    config.seed = 0  # of everything: weights, data order, noise

    config.data = data = ml_collections.ConfigDict()
    data.name = ""  # digits | mixture | photos | folder | npz | prepared | tfds | shapes | coco | text
    data.path = ""  # of a folder or a file; of TFDS, its data_dir, by default its own
    data.builder = ""  # of TFDS, e.g. cifar10
    data.train_split = ""  # of TFDS
    data.test_split = ""
    data.image_size = 0  # pixels; images are square
    data.channels = 0  # 1 grey, 3 RGB
    data.length = 0  # tokens in a sequence
    data.vocab_size = 0  # values a pixel channel or a token can take
    data.num_classes = -1  # 0 unconditional, -1 as the data has them
    data.resize = "none"  # none | box | bilinear | bicubic | lanczos, after a centre crop to a square
    data.flip = False  # random horizontal flips in training
    data.test_fraction = 0.1  # of a folder or file, held out for evaluation
    data.crop = 1.0  # the smallest side of a random square that is cut out in training, in widths; 1 none
    data.captions = 0  # of a picture
    data.captions_drawn = 0  # so many of them a step, at random; 0 all
    data.curriculum_steps = 0  # steps, in whose first half it is the first caption alone, then one of more and more
    data.tokenizer = ""  # a SentencePiece .model
    data.tokenizer_kind = "unigram"  # unigram | bpe | word | char, of one that is trained on the text itself
    data.tokenizer_hash = ""  # of its pieces; filled in
    data.eos = -1  # what ends a text; filled in
    data.pad = -1  # what fills it up; filled in
    data.cut = False  # whether texts of more than data.length tokens lose their end, instead of being refused
    data.prefetch_batches = 4  # read ahead, each by a thread of its own; 0 reads within the loop

    config.bits = bits = ml_collections.ConfigDict()
    bits.encoding = "uint"  # uint | gray | uint_rand | one_hot | continuous (no bits: the paper's baseline)
    bits.scale = 1.0  # a bit is -scale or +scale

    config.diffusion = diffusion = ml_collections.ConfigDict()
    diffusion.schedule = "cosine"  # cosine | linear | sigmoid | lognormal (EDM's)
    diffusion.schedule_options = _schedule_options()
    diffusion.prediction = "x0"  # x0 | eps | v
    diffusion.loss = "l2"  # l2 | logistic (bits) | softmax (one_hot) | cross_entropy (factorised_softmax)
    diffusion.head = "linear"  # linear | factorised_softmax: over the vocabulary, averaged into bits
    diffusion.time_input = "gamma"  # gamma (the official code) | t (the paper's pseudocode), times 1000
    diffusion.self_cond_rate = 0.5  # share of a batch; 0 turns self-conditioning off
    diffusion.lag = 0.0  # the greatest lag of a sequence's positions, see schedules.lagged; 0 is the paper
    diffusion.sigma_data = 0.0  # EDM's: preconditioning, time input and loss weight for data of this deviation; 0 none
    diffusion.label_dropout = 0.0  # share of labels hidden in training, for guidance

    config.latents = latents = ml_collections.ConfigDict()  # DisCo-Diff's, inferred from the clean example
    latents.count = 0  # of an example; 0 none
    latents.codes = 0  # values of one; 2 makes them bits
    latents.groups = 1  # of which each is looked at by one resolution of the U-Net's way up; 1: by all
    latents.temperature = 1.0  # of Gumbel-Softmax
    latents.straight_through = False  # one-hot values with the relaxed gradient, or relaxed values
    latents.dropout = 0.1  # share of examples whose latents are hidden in training, for guidance
    latents.encoder = ml_collections.ConfigDict()  # see latent_encoder()
    latents.embed = ml_collections.ConfigDict()  # see latent_transformer()

    config.network = ml_collections.ConfigDict()  # see unet() and transformer()
    config.encoder = ml_collections.ConfigDict()  # of pictures to be described, see vit(); else empty

    config.optimizer = optimizer = ml_collections.ConfigDict()
    optimizer.name = "adam"  # adam | muon (for the hidden matrices; Adam for the rest)
    optimizer.learning_rate = 1e-4
    optimizer.schedule = "constant"  # constant | cosine | linear, after the warm-up, to 0 at the last step
    optimizer.warmup_steps = 10_000
    optimizer.b1 = 0.9
    optimizer.b2 = 0.999
    optimizer.eps = 1e-8
    optimizer.weight_decay = 0.0
    optimizer.clip_norm = 1.0  # of the global gradient norm; 0 does not clip
    optimizer.ema_decay = 0.9999

    config.train = train = ml_collections.ConfigDict()
    train.steps = 0
    train.batch_size = 128  # over all devices
    train.accumulate = 1  # parts in which a device takes its share, one after the other, to save memory
    train.log_every_steps = 100
    train.sample_every_steps = 10_000  # 0 draws no previews

    config.checkpoint = checkpoint = ml_collections.ConfigDict()
    checkpoint.every_steps = 5_000
    checkpoint.keep = 3  # the latest so many
    checkpoint.keep_every_steps = 0  # and for good every so many steps; 0 none
    checkpoint.keep_best = 0  # and the best so many by `best_metric`
    checkpoint.best_metric = "test_loss"  # the lowest: test_loss | loss, of training since the last line of the log
    checkpoint.test_examples = 1_024  # of the test set, for test_loss

    config.sample = sample = ml_collections.ConfigDict()
    sample.sampler = "ddim"  # ddim | ddpm | ddpm_small | dpm++ | heun; autoregressive: beam | random
    sample.steps = 100
    sample.td = 0.0  # in steps
    sample.lag = 0.0  # of a sequence's positions, up to diffusion.lag
    sample.endpoint = False  # whether the network is last asked at t = 0 (EDM) or at 1 / steps
    sample.churn = (0.0, 0.0, 1e9)  # EDM's S_churn, S_min, S_max; S_churn 0 adds no noise
    sample.restarts = ()  # of (steps, times, sigma low, sigma high)
    sample.noise_scale = 1.0  # of the noise that churn and restarts add (S_noise)
    sample.guidance = 0.0  # cond + guidance (cond - uncond)
    sample.latent_guidance = 0.0  # the same, of latents against null latents
    sample.momentum = 0.0  # of the self-conditioning estimate
    sample.self_guidance = 0.0  # weight of the estimate against none, 3 to 5 if wanted; 0 is off
    sample.frames = 0  # estimates on the way that are kept for a picture strip
    sample.beams = 1  # of an autoregressive model
    sample.schedule = "cosine"  # cosine | linear | sigmoid | karras (EDM's)
    sample.schedule_options = _schedule_options()
    sample.batch_size = 100  # over all devices
    sample.num_samples = 64
    sample.seed = 0

    config.first = ml_collections.ConfigDict()  # of a prior: its first stage's config, taken from `first_run`
    config.first_run = ""  # of a prior: its first stage's workdir
    config.prior = ml_collections.ConfigDict()
    config.prior.model = "autoregressive"  # autoregressive | bits
    config.prior.sample = sample.copy_and_resolve_references()  # how latents are drawn

    config.evaluate = evaluate = ml_collections.ConfigDict()
    evaluate.num_samples = 10_000
    evaluate.seed = 1
    evaluate.tokenizer = "none"  # of captions, into words: none | treebank (COCO's)
    return config


def _schedule_options() -> ml_collections.ConfigDict:
    """The options of all schedules; None is the schedule's own value."""
    names = ("start", "end", "tau", "sigma_min", "sigma_max", "rho", "mean", "std")
    return ml_collections.ConfigDict({name: ml_collections.config_dict.placeholder(float) for name in names})


def unet(**changes) -> ml_collections.ConfigDict:
    """The U-Net's fields at the paper's CIFAR-10 size."""
    network = ml_collections.ConfigDict()
    network.name = "unet"
    network.dim = 256
    network.multipliers = (1, 1, 1)
    network.blocks = 3
    network.attention_resolutions = (16, 8)
    network.head_dim = 64
    network.out_size = 3
    network.dropout = 0.0
    network.remat = False  # computes blocks anew in the backward pass: less memory, a third more time
    network.dtype = "float32"  # float32 | bfloat16, of the computation
    network.update(changes)
    return network


def transformer(**changes) -> ml_collections.ConfigDict:
    """The Transformer's fields."""
    network = ml_collections.ConfigDict()
    network.name = "transformer"
    network.dim = 512
    network.layers = 6
    network.head_dim = 64
    network.mlp_ratio = 4
    network.embed_layers = 1  # 2 embeds a token's bits by an MLP
    network.dropout = 0.0
    network.remat = False
    network.dtype = "float32"
    network.update(changes)
    return network


def vit(**changes) -> ml_collections.ConfigDict:
    """The image encoder's fields at the size of ViT-B/16."""
    encoder = ml_collections.ConfigDict()
    encoder.name = "vit"
    encoder.patch = 16
    encoder.dim = 768
    encoder.layers = 12
    encoder.stem = ()  # channels of convolutions in place of the linear patches
    encoder.head_dim = 64
    encoder.mlp_ratio = 4
    encoder.remat = False
    encoder.weights = ""  # a ViT's published .npz, to begin with
    encoder.dtype = "float32"
    encoder.update(changes)
    return encoder


def mlp(**changes) -> ml_collections.ConfigDict:
    """The fields of an MLP over points."""
    network = ml_collections.ConfigDict()
    network.name = "mlp"
    network.dim = 128
    network.layers = 4
    network.dropout = 0.0
    network.dtype = "float32"
    network.update(changes)
    return network


def latent_encoder(**changes) -> ml_collections.ConfigDict:
    """The fields of what infers latents, at the size of DisCo-Diff's for ImageNet 64 x 64."""
    encoder = ml_collections.ConfigDict()
    encoder.kind = "vit"  # vit | mlp
    encoder.patch = 8
    encoder.dim = 768
    encoder.layers = 12
    encoder.head_dim = 64
    encoder.dtype = "float32"
    encoder.update(changes)
    return encoder


def latent_transformer(**changes) -> ml_collections.ConfigDict:
    """The fields of what embeds latents, at the size of DisCo-Diff's for images."""
    embed = ml_collections.ConfigDict()
    embed.dim = 192
    embed.layers = 6
    embed.head_dim = 64
    embed.dtype = "float32"
    embed.update(changes)
    return embed


def edm(config: ml_collections.ConfigDict, *, sigma_data: float, steps: int) -> None:
    """Sets what makes a diffusion EDM's (Karras et al. 2022): 2 steps - 1 evaluations by Heun's method."""
    config.diffusion.sigma_data = sigma_data
    config.diffusion.schedule = "lognormal"
    config.diffusion.self_cond_rate = 0.0
    config.sample.sampler = "heun"
    config.sample.schedule = "karras"
    config.sample.endpoint = True
    config.sample.steps = steps


def second_stage(config: ml_collections.ConfigDict, model: str) -> None:
    """Makes a first stage's config that of a prior of its latents, drawn one after the other or by Bit Diffusion."""
    config.first = config.copy_and_resolve_references()
    config.task = "prior"
    config.prior.model = model
    config.diffusion = base().diffusion
    config.bits = base().bits
    config.prior.sample.sampler = "random" if model == "autoregressive" else "ddpm"
    config.prior.sample.steps = 0 if model == "autoregressive" else 40


def paper_encoding(config: ml_collections.ConfigDict, encoding: str, *, dropout: float) -> None:
    """Sets what goes with one of PAPER_ENCODINGS in the paper's image tables.

    uint_rand takes the factorised softmax head; continuous pixels are predicted as eps, with dropout.
    """
    config.bits.encoding = encoding
    if encoding == "uint_rand":
        config.diffusion.head = "factorised_softmax"
        config.network.out_size = 1
    if encoding == "continuous":
        config.diffusion.prediction = "eps"
        config.network.dropout = dropout


def captioning(config: ml_collections.ConfigDict, model: str) -> None:
    """Sets what tells the CAPTION_MODELS from one another; all else in their configs is the same.

    Linear bits are the paper's; the softmax over the vocabulary averages the codes of its tokens.
    """
    config.task = "autoregressive" if model == "autoregressive" else "tokens"
    if model == "autoregressive":
        config.sample.sampler = "beam" if config.encoder else "random"  # without a picture all beams are the same
        config.sample.steps = 0
        return
    config.network.embed_layers = 2
    config.sample.steps = 10
    config.sample.td = 5.0
    if model == "softmax":
        config.diffusion.head = "factorised_softmax"
        config.diffusion.loss = "cross_entropy"


def small_run(config: ml_collections.ConfigDict, *, steps: int, batch_size: int) -> None:
    """Sets what a run of a few minutes needs: a high learning rate that decays, and a short memory."""
    config.optimizer.learning_rate = 1e-3
    config.optimizer.schedule = "cosine"
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.995
    config.train.steps = steps
    config.train.batch_size = batch_size
    config.train.sample_every_steps = 1_000
    config.checkpoint.every_steps = 500


def medium_run(config: ml_collections.ConfigDict) -> None:
    """Sets what suits data of one's own on one GPU for some hours; labels are dropped so that guidance works."""
    config.diffusion.label_dropout = 0.1
    config.optimizer.learning_rate = 2e-4
    config.optimizer.warmup_steps = 1_000
    config.optimizer.ema_decay = 0.999
    config.train.steps = 50_000
    config.train.sample_every_steps = 1_000
    config.checkpoint.every_steps = 1_000


def check_variant(file: str, variant: str, variants: Iterable[str]) -> None:
    """Raises ValueError that lists the variants of a config file if `variant` is none of them."""
    variants = tuple(variants)
    if variant not in variants:
        names = ", ".join(variants) if variants else "none"
        raise ValueError(f"unknown variant {variant!r} of configs/{Path(file).name}; its variants: {names}")
