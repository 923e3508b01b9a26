"""Judges score samples in addition to the task's own scores; the one in this file computes FID."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdiff.data import Dataset
from bitdiff.inference.trained import Trained
from bitdiff.metrics import fid, inception_weights
from bitdiff.runtime import devices, processes
from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import Score


class Judge(NamedTuple):
    """Scores samples.

    name: the key of its provenance in a report.
    provenance: plain JSON.
    scores: (samples by name, the data set) -> scores by name.
    """

    name: str
    provenance: dict[str, Any]
    scores: Callable[[dict[str, np.ndarray], Dataset], dict[str, Score]]


class _Inception(NamedTuple):
    weights: inception_weights.Weights
    reference: fid.Reference
    batch_size: int


def open_inception(run: Trained, inception: Path | None, reference: Path | None, batch_size: int) -> Judge | None:
    """The judge that computes FID; None if neither file is given.

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
    devices.per_device(batch_size, "--inception_batch_size")  # refuses a batch that cannot be divided
    data = run.config.data
    if run.task.field != "image" or data.vocab_size != 256:
        raise UsageError("FID is defined for 8-bit images, which this model does not generate")
    weights = inception_weights.load(inception)
    shape = (data.image_size, data.image_size, data.channels)
    files = _Inception(weights, fid.load_reference(reference, weights, shape), batch_size)
    return Judge("reference", files.reference.provenance, partial(_inception_scores, files))


def _inception_scores(judge: _Inception, outputs: dict[str, np.ndarray], dataset: Dataset) -> dict[str, Score]:
    """FID and related scores of 'image' uint8 [N, H, W, C], with a progress bar; each process handles its own block."""
    del dataset
    images = outputs["image"]
    extract = fid.make_extractor(judge.weights, judge.batch_size)
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
