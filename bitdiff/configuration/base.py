"""Every field of a configuration, with its default.

A config file starts from `base_config()` and sets what differs, so every default is written only once.
Durations end in `_steps`. On the command line: `--config.train.steps=2000`.
"""

import ml_collections


def base_config() -> ml_collections.ConfigDict:
    """A configuration without data; sizes of 0 are taken from the data when a run starts."""
    config = ml_collections.ConfigDict()
    config.task = "images"  # images | tokens | points | autoregressive (the baseline for tokens) | prior (of latents)
    config.seed = 0  # seeds the weights, the order of the data, and the noise
    config.data = _data()
    config.bits = _bits()
    config.diffusion = _diffusion()
    config.latents = _latents()
    config.network = ml_collections.ConfigDict()  # see sections.unet(), transformer() and mlp()
    config.encoder = ml_collections.ConfigDict()  # encodes pictures to describe, see sections.vit(); empty for none
    config.optimizer = _optimizer()
    config.train = _train()
    config.checkpoint = _checkpoint()
    config.sample = _sample()
    config.first = ml_collections.ConfigDict()  # the config of a prior's first stage, filled in from first_run
    config.first_run = ""  # the workdir of a prior's first stage
    config.prior = ml_collections.ConfigDict()
    config.prior.model = "autoregressive"  # autoregressive | bits
    config.prior.sample = config.sample.copy_and_resolve_references()  # how latents are sampled
    config.evaluate = _evaluate()
    return config


def _data() -> ml_collections.ConfigDict:
    data = ml_collections.ConfigDict()
    data.name = ""  # digits | mixture | gaussians | photos | folder | npz | prepared | tfds | shapes | coco | text
    data.path = ""  # a folder or file; for tfds its data_dir, by default TFDS's own
    data.builder = ""  # the TFDS builder, e.g. cifar10
    data.train_split = ""  # split names, for tfds and coco
    data.test_split = ""
    data.image_size = 0  # pixels; images are square
    data.channels = 0  # 1 gray, 3 RGB
    data.length = 0  # tokens per sequence
    data.vocab_size = 0  # values a pixel channel or a token can take
    data.num_classes = -1  # 0 for unconditional, -1 for as many as the data have
    data.resize = "none"  # none | box | bilinear | bicubic | lanczos, after a center crop to a square
    data.flip = False  # random horizontal flips in training
    data.test_fraction = 0.1  # fraction of a folder or file held out for evaluation
    data.crop = 1.0  # smallest side of random square crops in training, relative to the image; 1 disables cropping
    data.captions = 0  # captions per picture
    data.captions_drawn = 0  # captions per picture in a batch, drawn at random; 0 for all
    data.curriculum_steps = 0  # only the first caption for half of these steps, then gradually all of them
    data.tokenizer = ""  # a SentencePiece .model
    data.tokenizer_kind = "unigram"  # unigram | bpe | word | char, if the tokenizer is trained on the text itself
    data.tokenizer_hash = ""  # filled in from the tokenizer
    data.eos = -1  # end-of-sequence token, filled in from the tokenizer
    data.pad = -1  # padding token, filled in from the tokenizer
    data.cut = False  # whether texts longer than data.length are truncated; otherwise they are an error
    data.prefetch_batches = 4  # batches read ahead, each by its own thread; 0 reads within the training loop
    return data


def _bits() -> ml_collections.ConfigDict:
    bits = ml_collections.ConfigDict()
    bits.encoding = "uint"  # uint | gray | uint_rand | one_hot | continuous (the paper's baseline without bits)
    bits.scale = 1.0  # a bit is -scale or +scale
    return bits


def _diffusion() -> ml_collections.ConfigDict:
    diffusion = ml_collections.ConfigDict()
    diffusion.schedule = "cosine"  # cosine | linear | sigmoid | lognormal (EDM's)
    diffusion.schedule_options = _schedule_options()
    diffusion.prediction = "x0"  # x0 | eps | v
    diffusion.loss = "l2"  # l2 | logistic (bits) | softmax (one_hot) | cross_entropy (factorised_softmax)
    diffusion.head = "linear"  # linear | factorised_softmax (over the vocabulary, averaged into bits)
    diffusion.time_input = "gamma"  # gamma (the official code) | t (the paper's pseudocode), times 1000
    diffusion.self_cond_rate = 0.5  # fraction of a batch that is self-conditioned; 0 disables self-conditioning
    diffusion.lag = 0.0  # largest lag of a sequence's positions, see schedules.lagged; 0 in the paper
    diffusion.sigma_data = 0.0  # standard deviation of the data for EDM; 0 for the paper's diffusion
    diffusion.label_dropout = 0.0  # rate at which labels are dropped in training, for guidance
    diffusion.image_dropout = 0.0  # rate at which pictures to describe are dropped in training, for guidance
    return diffusion


def _latents() -> ml_collections.ConfigDict:
    latents = ml_collections.ConfigDict()  # DisCo-Diff's, inferred from the clean example
    latents.count = 0  # latents per example; 0 for none
    latents.codes = 0  # values a latent can take; 2 makes them bits
    latents.groups = 1  # with more than 1, each group is attended to at one resolution of the U-Net's upsampling half
    latents.temperature = 1.0  # temperature of Gumbel-Softmax
    latents.straight_through = False  # one-hot values with the relaxed gradient; otherwise relaxed values
    latents.dropout = 0.1  # rate at which an example's latents are dropped in training, for guidance
    latents.encoder = ml_collections.ConfigDict()  # see sections.latent_encoder()
    latents.embed = ml_collections.ConfigDict()  # see sections.latent_transformer()
    return latents


def _optimizer() -> ml_collections.ConfigDict:
    optimizer = ml_collections.ConfigDict()
    optimizer.name = "adam"  # adam | muon (for the hidden matrices, Adam for the rest)
    optimizer.learning_rate = 1e-4
    optimizer.schedule = "constant"  # constant | cosine | linear, after the warm-up, to 0 at the last step
    optimizer.warmup_steps = 10_000
    optimizer.b1 = 0.9
    optimizer.b2 = 0.999
    optimizer.eps = 1e-8
    optimizer.weight_decay = 0.0
    optimizer.clip_norm = 1.0  # bound on the global gradient norm; 0 disables clipping
    optimizer.ema_decay = 0.9999
    return optimizer


def _train() -> ml_collections.ConfigDict:
    train = ml_collections.ConfigDict()
    train.steps = 0
    train.batch_size = 128  # over all devices
    train.accumulate = 1  # parts that a device processes one after another, to save memory
    train.log_every_steps = 100
    train.sample_every_steps = 10_000  # 0 draws no previews
    return train


def _checkpoint() -> ml_collections.ConfigDict:
    checkpoint = ml_collections.ConfigDict()
    checkpoint.every_steps = 5_000
    checkpoint.keep = 3  # number of latest checkpoints kept
    checkpoint.keep_every_steps = 0  # checkpoints at multiples of this are kept for good; 0 for none
    checkpoint.keep_best = 0  # number of checkpoints with the lowest best_metric that are kept
    checkpoint.best_metric = "test_loss"  # test_loss | loss (the training loss since the last line of the log)
    checkpoint.test_examples = 1_024  # test examples for test_loss
    return checkpoint


def _sample() -> ml_collections.ConfigDict:
    sample = ml_collections.ConfigDict()
    sample.sampler = "ddim"  # ddim | ddpm | ddpm_small | dpm++ | heun; autoregressive: beam | random
    sample.steps = 100
    sample.td = 0.0  # asymmetric time intervals, in steps
    sample.lag = 0.0  # lag of a sequence's positions, up to diffusion.lag
    sample.endpoint = False  # whether the last network evaluation is at t = 0 (EDM) instead of 1 / steps
    sample.churn = (0.0, 0.0, 1e9)  # EDM's S_churn, S_min, S_max; S_churn 0 adds no noise
    sample.restarts = ()  # each is (steps, times, sigma low, sigma high)
    sample.noise_scale = 1.0  # scale of the noise of churn and restarts (S_noise)
    sample.guidance = 0.0  # weight w in cond + w (cond - uncond), for class labels
    sample.image_guidance = 0.0  # the same for pictures to describe
    sample.latent_guidance = 0.0  # the same for latents
    sample.momentum = 0.0  # momentum of the self-conditioning estimate
    sample.self_guidance = 0.0  # weight of guidance by self-conditioning, 3 to 5 in the paper; 0 disables it
    sample.frames = 0  # intermediate estimates kept for a strip
    sample.beams = 1  # beams of an autoregressive model
    sample.schedule = "cosine"  # cosine | linear | sigmoid | karras (EDM's)
    sample.schedule_options = _schedule_options()
    sample.batch_size = 100  # over all devices
    sample.num_samples = 64
    sample.seed = 0
    return sample


def _evaluate() -> ml_collections.ConfigDict:
    evaluate = ml_collections.ConfigDict()
    evaluate.num_samples = 10_000
    evaluate.seed = 1
    evaluate.tokenizer = "none"  # how captions are split into words: none | treebank (COCO's)
    return evaluate


def _schedule_options() -> ml_collections.ConfigDict:
    """The options of all schedules; None means the schedule's own default."""
    names = ("start", "end", "tau", "sigma_min", "sigma_max", "rho", "mean", "std")
    return ml_collections.ConfigDict({name: ml_collections.config_dict.placeholder(float) for name in names})
