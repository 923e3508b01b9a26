"""FID and related scores of generated images, from Inception features."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from bitdiff.inference.trained import Trained
from bitdiff.metrics import fid, inception_weights
from bitdiff.runtime import processes
from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import Score


class Judge(NamedTuple):
    """What FID is computed with: Inception's weights, the data's statistics, and images per batch over all devices."""

    inception: inception_weights.Weights
    reference: fid.Reference
    batch_size: int


def open_judge(run: Trained, inception: Path | None, reference: Path | None, batch_size: int) -> Judge | None:
    """Loads the weights and the reference for FID; None if neither is given.

    Args:
      run: the model to be measured.
      inception: weights written by `bitdiff.convert_inception`.
      reference: statistics written by `bitdiff.reference`.
      batch_size: images per batch over all devices.

    Raises:
      UsageError: one without the other, a bad file, or a model that does not generate 8-bit images.
    """
    if inception is None and reference is None:
        return None
    if inception is None or reference is None:
        raise UsageError("FID requires both --inception (weights) and --reference (statistics of the data)")
    data = run.config.data
    if run.task.field != "image" or data.vocab_size != 256:
        raise UsageError("FID is defined for 8-bit images, which this model does not generate")
    weights = inception_weights.load(inception)
    shape = (data.image_size, data.image_size, data.channels)
    return Judge(weights, fid.load_reference(reference, weights, shape), batch_size)


def inception_scores(images: np.ndarray, judge: Judge) -> dict[str, Score]:
    """FID and related scores of uint8 [N, H, W, C], with a progress bar; each process handles its own block."""
    extract = fid.make_extractor(judge.inception, judge.batch_size)
    keep = len(judge.reference.summary.pool)
    own = processes.own_range(len(images))
    partial = fid.Partial()
    with progress_bar("features", "image", total=len(own), shown=processes.is_main()) as bar:
        for start in range(own.start, own.stop, extract.batch_size):
            batch = images[start : min(start + extract.batch_size, own.stop)]
            partial = fid.add(partial, extract(batch), keep=fid.kept_here(keep), keep_logits=True)
            bar.update(len(batch))
    summary = fid.finish(fid.join(partial))
    facts = judge.reference.provenance
    about = f"{len(images)} samples against {facts['count']} images: {facts['data']}"
    return {name: Score(value, about) for name, value in fid.scores(summary, judge.reference).items()}
