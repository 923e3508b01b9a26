"""Every field of a configuration, with its default, type, range and meaning.

A config file starts from `base_config()` and sets what differs, so every default is written only once.
Durations end in `_steps`. On the command line: `--config.train.steps=2000`. The fields of networks are in
`sections.py`.
"""

import ml_collections

from bitdiff.configuration.fields import (
    Field,
    boolean,
    fraction,
    integer,
    number,
    optional_number,
    text,
    to_config,
)

TOP = {
    "task": text(
        "images",
        "images | tokens | points | blocks (of tokens) | autoregressive (the baseline for tokens) | "
        "masked (diffusion of images or tokens) | prior (of latents) | distillation (into half as many steps) | "
        "docking (poses of a ligand in a receptor) | confidence (ranks the poses of a docking run)",
    ),
    "seed": integer(0, "seeds the weights, the order of the data, and the noise"),
    "first_run": text(
        "", "the workdir of a prior's first stage, of a student's teacher, or of a confidence model's docking run"
    ),
}

DATA = {
    "name": text(
        "",
        "digits | mixture | gaussians | photos | folder | idx | npz | prepared | tfds | shapes | expressions | coco | "
        "text | pockets | pdbbind",
    ),
    "path": text("", "a folder or file; for tfds its data_dir, by default TFDS's own"),
    "builder": text("", "the TFDS builder, e.g. cifar10; for pockets, molecules, or empty for rigid trees"),
    "train_split": text("", "name of the training split, for tfds, coco, idx and pdbbind"),
    "test_split": text("", "name of the test split, for tfds, coco, idx and pdbbind"),
    "image_size": integer(0, "side of the square images in pixels; 0 to take it from the data", high=2**13),
    "channels": integer(0, "1 for gray, 3 for RGB; 0 to take it from the data", high=2**10),
    "length": integer(
        0,
        "tokens per sequence, or the largest number of residues of a receptor; 0 to take it from the data",
        high=2**16,
    ),
    "vocab_size": integer(0, "number of values of a pixel channel or a token; 0 to take it from the data", high=2**24),
    "num_classes": integer(
        -1, "number of classes; 0 for unconditional, -1 to take it from the data", low=-1, high=2**20
    ),
    "resize": text(
        "none",
        "interpolation after a center crop to a square; pad adds a black border instead",
        ("none", "box", "bilinear", "bicubic", "lanczos", "pad"),
    ),
    "flip": boolean(False, "random horizontal flips in training"),
    "test_fraction": fraction(0.1, "fraction of a folder or file held out for evaluation"),
    "crop": number(
        1.0,
        "smallest side of random square crops in training, relative to the image; 1 disables cropping",
        0,
        1,
        above=True,
    ),
    "atoms": integer(
        0, "largest number of atoms of a ligand; larger ones are left out; 0 to take it from the data", high=2**16
    ),
    "torsions": integer(0, "largest number of rotatable bonds of a ligand; 0 to take it from the data", high=2**16),
    "atom_types": integer(0, "number of types of a ligand's atoms; 0 to take it from the data", high=2**16),
    "residue_types": integer(0, "number of types of a receptor's residues; 0 to take it from the data", high=2**16),
    "captions": integer(0, "captions per picture", high=2**10),
    "captions_drawn": integer(0, "captions per picture in a batch, drawn at random; 0 for all", high=2**10),
    "curriculum_steps": integer(
        0,
        "steps of a curriculum: one caption in the first half, then their number doubles at equal intervals",
    ),
    "tokenizer": text("", "path of a SentencePiece .model file"),
    "tokenizer_kind": text(
        "auto",
        "kind of pieces of a tokenizer trained on the text itself; auto is word if all words fit, and bpe otherwise",
        ("auto", "unigram", "bpe", "word", "char"),
    ),
    "tokenizer_hash": text("", "hash of the tokenizer, filled in from it"),
    "eos": integer(-1, "end-of-sequence token, filled in from the tokenizer", low=-1),
    "pad": integer(-1, "padding token, filled in from the tokenizer", low=-1),
    "distilled": text(
        "",
        "a folder written by bitdiff.distill: sequences that replace the training split's, or poses that a confidence "
        "model is trained on",
    ),
    "cut": boolean(False, "whether texts longer than data.length are truncated; otherwise they are an error"),
    "prefetch_batches": integer(
        4, "batches read ahead, each by its own thread; 0 reads within the training loop", high=2**10
    ),
}

BITS = {
    "encoding": text(
        "uint",
        "how integers become analog bits; continuous is the paper's baseline without bits",
        ("uint", "gray", "uint_rand", "one_hot", "continuous"),
    ),
    "scale": number(1.0, "a bit is -scale or +scale", above=True),
}

SCHEDULE_OPTIONS = {
    "start": optional_number("for cosine and sigmoid"),
    "end": optional_number("for cosine and sigmoid"),
    "tau": optional_number("for cosine and sigmoid"),
    "sigma_min": optional_number("for karras"),
    "sigma_max": optional_number("for karras"),
    "rho": optional_number("for karras"),
    "mean": optional_number("for lognormal"),
    "std": optional_number("for lognormal"),
    "levels": Field((), "for measured: ln(gamma / (1 - gamma)), equally spaced in t from 0 to 1", "numbers"),
}

DIFFUSION = {
    "schedule": text(
        "cosine",
        "the training schedule; lognormal is EDM's, and measured that of bitdiff.schedule",
        ("cosine", "linear", "sigmoid", "karras", "lognormal", "measured"),
    ),
    "schedule_run": text("", "a run with a schedule.json, the levels of the schedule 'measured'"),
    "prediction": text("x0", "what the network predicts", ("x0", "eps", "v")),
    "loss": text(
        "l2",
        "logistic is for bits, softmax for one_hot, cross_entropy for the factorised_softmax head",
        ("l2", "logistic", "softmax", "cross_entropy"),
    ),
    "head": text(
        "linear",
        "sigmoid is for logits of bits; factorised_softmax is a softmax over the vocabulary, whose codes it averages",
        ("linear", "sigmoid", "factorised_softmax"),
    ),
    "matched_filter": boolean(False, "whether the posterior of each bit given its noisy value is added to the logits"),
    "weight": text(
        "none", "weight of the loss at a noise level; edm is EDM's, with the scale of the bits", ("none", "edm")
    ),
    "time_input": text(
        "gamma",
        "the network's time input, multiplied by 1000; gamma as in the official code, t as in the paper",
        ("gamma", "t"),
    ),
    "self_cond_rate": number(0.5, "fraction of a batch that is self-conditioned; 0 disables self-conditioning", high=1),
    "trained_guidance": number(
        0.0,
        "largest weight of guidance by self-conditioning to train with, so that sampling with it takes one evaluation "
        "per step instead of two; 0 to train without it, otherwise above 1 (5 in ELF)",
        high=1e3,
    ),
    "lag": number(0.0, "largest lag of a sequence's positions, see schedules.lagged; 0 in the paper"),
    "sigma_data": number(0.0, "standard deviation of the data for EDM; 0 for the paper's diffusion"),
    "label_dropout": fraction(0.0, "rate at which labels are dropped in training, for guidance"),
    "image_dropout": fraction(0.0, "rate at which pictures to describe are dropped in training, for guidance"),
}

_PAIR = {"kind": "numbers", "low": 0.0, "above": True, "length": 2}
DOCKING = {
    "translation": Field((0.1, 19.0), "smallest and largest sigma of translations, in angstroms", **_PAIR),
    "rotation": Field((0.03, 1.55), "smallest and largest sigma of rotations, the eps of diffusion/so3.py", **_PAIR),
    "torsion": Field((0.03, 3.14), "smallest and largest sigma of torsion angles, in radians", **_PAIR),
    "time": Field((2.0, 1.0), "parameters of the beta distribution of t in training", **_PAIR),
}

BLOCKS = {"size": integer(1, "tokens per block of the task 'blocks'", low=1, high=2**16)}

LATENTS = {
    "count": integer(0, "latents per example (DisCo-Diff's, inferred from the clean example); 0 for none", high=2**12),
    "codes": integer(
        0,
        "number of values that a latent can take; 2 makes latents bits; 0 for docking, whose latents are pointers",
        high=2**16,
    ),
    "groups": integer(
        1,
        "number of groups; if above 1, each is attended to at one resolution of the U-Net's upsampling half",
        low=1,
        high=2**6,
    ),
    "temperature": number(1.0, "temperature of Gumbel-Softmax", above=True),
    "straight_through": boolean(False, "whether values are one-hot, with the relaxed gradient; otherwise relaxed"),
    "dropout": fraction(0.1, "rate at which an example's latents are dropped in training, for guidance"),
    "route": text(
        "attention",
        "how the network receives latents: it attends to their embeddings, or they modulate its layers as labels do",
        ("attention", "modulation"),
    ),
    "kl": number(0.0, "weight of the divergence of the latents' distribution from the uniform one; 0 disables it"),
}

OPTIMIZER = {
    "name": text("adam", "muon updates the hidden matrices, and Adam the rest", ("adam", "muon")),
    "learning_rate": number(1e-4, "the peak learning rate", high=1e3, above=True),
    "schedule": text(
        "constant",
        "the learning rate after the warm-up; cosine and linear decay to 0 at the last step",
        ("constant", "cosine", "linear"),
    ),
    "warmup_steps": integer(10_000, "steps of linear warm-up"),
    "freeze_steps": integer(
        0,
        "number of initial steps in which the layers that a prior over pointers or a confidence model copies from a "
        "docking run are frozen",
    ),
    "b1": fraction(0.9, "decay of the mean of gradients"),
    "b2": fraction(0.999, "decay of the mean of squared gradients"),
    "eps": number(1e-8, "added to the denominator"),
    "weight_decay": number(0.0, "decoupled weight decay, multiplied by the learning rate", high=1e3),
    "clip_norm": number(1.0, "bound on the global gradient norm; 0 disables clipping"),
    "ema_decay": fraction(
        0.9999, "largest decay of the moving average of the weights, which warms up as (1 + step) / (10 + step)"
    ),
}

TRAIN = {
    "steps": integer(0, "training steps"),
    "batch_size": integer(128, "examples per step, over all devices", low=1, high=2**24),
    "accumulate": integer(
        1, "parts of its batch that a device processes one after another, to save memory", low=1, high=2**16
    ),
    "log_every_steps": integer(100, "steps between two lines of metrics.jsonl", low=1),
    "sample_every_steps": integer(10_000, "steps between two previews; 0 draws none"),
}

CHECKPOINT = {
    "every_steps": integer(5_000, "steps between two checkpoints", low=1),
    "keep": integer(3, "number of latest checkpoints kept", low=1),
    "keep_every_steps": integer(0, "checkpoints at multiples of this are kept for good; 0 for none"),
    "keep_best": integer(0, "number of checkpoints with the lowest best_metric that are kept"),
    "best_metric": text(
        "test_loss",
        "loss is the mean training loss since the last log line, or that line's if no step followed it",
        ("test_loss", "loss"),
    ),
    "test_examples": integer(1_024, "test examples for test_loss", low=1),
}

SAMPLE = {
    "sampler": text(
        "ddim",
        "ddim | ddpm | ddpm_small | dpm++ | heun; for autoregressive models: beam | random; for masked diffusion: "
        "ancestral | confidence; for docking: sde | ode | ancestral",
    ),
    "steps": integer(100, "sampling steps; 0 for autoregressive models", high=10**5),
    "td": number(0.0, "asymmetric time intervals, in steps", high=10**5),
    "lag": number(0.0, "lag of a sequence's positions, up to diffusion.lag", high=10**5),
    "endpoint": boolean(False, "whether the last network evaluation is at t = 0 (EDM) instead of 1 / steps"),
    "churn": Field((0.0, 0.0, 1e9), "EDM's S_churn, S_min, S_max; S_churn 0 adds no noise", "numbers", 0.0, length=3),
    "churn_fraction": number(
        0.0, "rise of sigma before each step as a fraction of it, in place of S_churn; 0.1 to 0.2 suits text", high=1e3
    ),
    "restarts": Field((), "each is (steps, times, sigma low, sigma high)", "restarts"),
    "noise_scale": number(1.0, "scale of the noise of churn and restarts (S_noise)", high=1e3),
    "guidance": number(0.0, "weight w in cond + w (cond - uncond), for class labels", low=-1e3, high=1e3),
    "image_guidance": number(0.0, "the same for pictures to describe", low=-1e3, high=1e3),
    "latent_guidance": number(0.0, "the same for latents", low=-1e3, high=1e3),
    "momentum": fraction(0.0, "momentum of the self-conditioning estimate"),
    "self_guidance": number(
        0.0, "weight of guidance by self-conditioning, 3 to 5 in the paper; 0 disables it", high=1e3
    ),
    "temperature": number(
        1.0,
        "docking: sampling temperature of rotations and torsion angles; below 1, they concentrate near modes; masked "
        "diffusion's confidence sampler: scale of the noise on the confidence, 4.5 in MaskGIT",
        low=0.01,
    ),
    "frames": integer(0, "number of intermediate estimates to return; 0 for none", high=10**5),
    "beams": integer(1, "beams of an autoregressive model", low=1, high=2**10),
    "schedule": text(
        "auto",
        "the sampling schedule; karras is EDM's, auto is karras with heun and cosine otherwise, and "
        "measured the run's schedule.json",
        ("auto", "cosine", "linear", "sigmoid", "karras", "lognormal", "measured"),
    ),
    "batch_size": integer(100, "samples per batch, over all devices", low=1, high=2**24),
    "num_samples": integer(64, "number of samples", low=1),
    "seed": integer(0, "seeds the noise"),
}

PRIOR = {
    "model": text(
        "autoregressive",
        "the model of a first stage's latents; pointers is for docking",
        ("autoregressive", "bits", "pointers"),
    )
}

DISTILLATION = {
    "steps": integer(8, "sampling steps of the student; the teacher takes two for each", low=1, high=10**5),
    "teacher_steps": integer(0, "steps of a teacher that is a student itself, filled in from first_run; 0 for others"),
}

EVALUATE = {
    "num_samples": integer(10_000, "number of samples", low=1),
    "seed": integer(1, "seeds the noise"),
    "candidates": integer(
        1, "captions per picture, of which the one that agrees best with the others is scored", low=1, high=2**10
    ),
    "tokenizer": text("none", "how captions are split into words; treebank is COCO's", ("none", "treebank")),
}


def base_config() -> ml_collections.ConfigDict:
    """A configuration without data; sizes of 0 are taken from the data when a run starts."""
    config = to_config(TOP)
    config.data = to_config(DATA)
    config.bits = to_config(BITS)
    config.diffusion = to_config(DIFFUSION)
    config.diffusion.schedule_options = to_config(SCHEDULE_OPTIONS)
    config.docking = to_config(DOCKING)
    config.blocks = to_config(BLOCKS)
    config.blocks.head = ml_collections.ConfigDict()  # denoises a block, see sections.transformer()
    config.latents = to_config(LATENTS)
    config.latents.encoder = ml_collections.ConfigDict()  # see sections.latent_encoder()
    config.latents.embed = ml_collections.ConfigDict()  # see sections.latent_transformer()
    config.network = ml_collections.ConfigDict()  # see sections.unet(), transformer(), mlp(), pose()
    config.encoder = ml_collections.ConfigDict()  # encodes pictures to describe, see sections.vit(); empty for none
    config.optimizer = to_config(OPTIMIZER)
    config.train = to_config(TRAIN)
    config.checkpoint = to_config(CHECKPOINT)
    config.sample = _sample()
    config.first = ml_collections.ConfigDict()  # the config of the first stage or teacher, filled in from first_run
    config.prior = to_config(PRIOR)
    config.prior.sample = _sample()  # how latents are sampled
    config.distillation = to_config(DISTILLATION)
    config.evaluate = to_config(EVALUATE)
    return config


def _sample() -> ml_collections.ConfigDict:
    section = to_config(SAMPLE)
    section.schedule_options = to_config(SCHEDULE_OPTIONS)
    return section
