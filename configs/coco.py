r"""COCO captions: bits against the autoregressive baseline, as in section 4.2 of Analog Bits.

    python -m bitdiff.train_tokenizer --input COCO/annotations/captions_train2017.json --out coco.model
    python -m bitdiff.train --config configs/coco.py --workdir runs/coco \
        --config.data.path=COCO --config.data.tokenizer=coco.model

COCO is the folder of the official 2017 release, with annotations/, train2017/ and val2017/. Variants: bits (the
default; linear output with l2 loss, as in the paper), softmax (bits from a softmax over the vocabulary, trained with
cross-entropy), autoregressive; and each with _karpathy appended, for the 2014 pictures in Karpathy's split from TFDS,
after bitdiff.prepare with the same config.

The encoder is a ViT-B/16 with random weights; `--config.encoder.weights=ViT-B_16.npz` starts from published ones. The
paper's was pretrained for object detection, at a resolution and with an optimizer that the paper does not state; the
image size, learning rate, weight decay, batch size and epochs here are those of the official autoregressive task.
Hardware: the paper does not state it. On GPUs or TPUs, add `--config.network.dtype=bfloat16
--config.encoder.dtype=bfloat16`.

The table of steps and td: python -m bitdiff.sweep --workdir runs/coco --steps 5,10,20,40 --td 0,1,2,3,4,5,6,7,8

Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = tuple(f"{model}{split}" for split in ("", "_karpathy") for model in presets.CAPTION_MODELS)


def get_config(variant: str = "bits") -> ml_collections.ConfigDict:
    """The configuration for a kind of model and a split."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    if variant.endswith("_karpathy"):
        config.data.name = "tfds"
        config.data.builder = "coco_captions"
        config.data.train_split = "train+restval"
        config.data.test_split = "test"
    else:
        config.data.name = "coco"
        config.data.train_split = "train2017"
        config.data.test_split = "val2017"
    config.data.image_size = 640
    config.data.channels = 3
    config.data.resize = "bilinear"
    config.data.crop = 0.7
    config.data.captions = 5
    config.data.length = 64
    config.data.vocab_size = 32_000
    config.data.num_classes = 0
    config.data.cut = True
    config.encoder = sections.vit()
    config.network = sections.transformer(head_dim=32, dropout=0.1)
    presets.captioning(config, variant.removesuffix("_karpathy"))
    config.optimizer.schedule = "linear"
    config.optimizer.warmup_steps = 2_000
    config.optimizer.weight_decay = 0.05
    config.optimizer.b2 = 0.95
    config.train.steps = 90_000
    config.checkpoint.every_steps = 1_000
    config.evaluate.num_samples = 5_000
    config.evaluate.tokenizer = "treebank"
    return config
