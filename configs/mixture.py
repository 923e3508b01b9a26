"""Token pairs from a known distribution over 256 states, to separate the sampler's error from the network's.

    python -m bitdiff.train --config configs/mixture.py --workdir runs/mixture

Evaluation reports the total variation distance between samples and data, for the network and (except for masked) for
the Bayes-optimal denoiser, and the value expected for perfect samples. Variants: uint (the default), gray, uint_rand,
one_hot, masked (masked diffusion, for comparison), distilled (a student of a uint run, for sampling in a few steps):

    python -m bitdiff.train --config mixture:distilled --config.first_run=runs/mixture --workdir runs/mixture8

For the next student, halve config.distillation.steps, and pass runs/mixture8 as config.first_run. Hardware: one CPU
core, about five minutes. The paper does not use this data set. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections


def get_config(variant: str = "uint") -> ml_collections.ConfigDict:
    """The configuration for an encoding, for masked diffusion, or for a student."""
    presets.check_variant(__file__, variant, (*presets.BIT_ENCODINGS, "masked", "distilled"))
    config = base_config()
    config.task = "tokens"
    config.data.name = "mixture"
    config.data.length = 2
    config.data.vocab_size = 16
    config.data.num_classes = 0
    config.bits.encoding = {"masked": "one_hot", "distilled": "uint"}.get(variant, variant)
    config.network = sections.transformer(dim=64, layers=2, head_dim=32)
    presets.small_run(config, steps=9_000, batch_size=256)
    config.optimizer.name = "muon"
    config.sample.batch_size = 1_000
    if variant == "masked":
        presets.masked(config)
    config.evaluate.num_samples = 20_000
    if variant == "distilled":
        presets.distillation(config, steps=3_000)
    return config
