"""Preview samples, drawn during training."""

from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.figures import pages
from bitdiff.tasks import examples_for, sample_options
from bitdiff.tasks.sample_batches import sample_batches
from bitdiff.training.setup import Setup


def write_preview(setup: Setup, params: Any, step: int) -> Path:
    """Draws one batch of samples with this process's devices, and writes them as a picture or as text.

    Returns:
      The path of the file in the folder `samples` of the workdir.
    """
    config, tokenizer = setup.config, setup.dataset.tokenizer
    examples = examples_for(setup.task, setup.dataset)
    batches = sample_batches(
        setup.task,
        params,
        sample_options(config.sample),
        num_samples=config.sample.batch_size,
        batch_size=config.sample.batch_size,
        seed=config.seed,
        examples=examples,
    )
    outputs = next(batches)
    path = setup.folder / "samples" / f"step_{step:08d}"
    if not tokenizer:
        return pages.write_samples(path, outputs, config.data.vocab_size, config.data.num_classes)
    images = None
    if config.encoder and examples is not None:
        images = np.stack([examples[int(i)]["image"] for i in outputs["source"]])
    return pages.write_texts(path, tokenizer.texts(outputs["tokens"]), images)
