"""The statistics of a data set for FID, accumulated over all its training images; resumable."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bitdiff.data import Dataset
from bitdiff.data.dataset import fingerprint
from bitdiff.metrics import fid, inception_weights
from bitdiff.runtime import processes
from bitdiff.runtime.console import progress_bar
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.interrupts import StopSignals
from bitdiff.runtime.version import __version__

_SAVE_SECONDS = 120


def make_reference(
    dataset: Dataset,
    inception: inception_weights.Weights,
    *,
    batch_size: int,
    keep: int,
    partial_path: Path,
    stop: StopSignals,
) -> fid.Reference | None:
    """Summarizes all training images, unflipped, with a progress bar; None if a signal stopped it.

    Args:
      dataset: a data set of 8-bit images.
      inception: converted weights.
      batch_size: images per batch over all devices.
      keep: number of images, evenly spread over the data, whose features are kept for KID, precision and recall.
      partial_path: where the sums are saved every few minutes and on a signal, so that a stopped call can be resumed.
      stop: records the signals.

    Raises:
      UsageError: the data are not 8-bit images.
    """
    if dataset.field != "image" or dataset.vocab_size != 256:
        raise UsageError(f"FID is defined for 8-bit images; the data are {dataset.about}")
    provenance = _provenance(dataset, inception)
    extract = fid.make_extractor(inception, batch_size)
    partial = fid.load_partial(partial_path, provenance | {"keep": keep})
    first = partial.sums.count if partial.sums else 0
    index, count = processes.processes()
    order = _order(len(dataset.train), keep)[index::count]
    images = (dataset.train[i]["image"] for i in order[first:])
    saved = time.monotonic()
    with progress_bar("reference", "image", total=len(order), initial=first, shown=index == 0) as bar:
        for batch in fid.in_batches(images, extract.batch_size):
            partial = fid.add(partial, extract(batch), keep=fid.kept_here(keep), keep_logits=False)
            bar.update(len(batch))
            if stop.received or time.monotonic() - saved > _SAVE_SECONDS:
                fid.save_partial(partial_path, partial, provenance | {"keep": keep})
                saved = time.monotonic()
            if stop.received:
                return None
    provenance["date"] = datetime.now(UTC).isoformat(timespec="seconds")
    return fid.Reference(fid.finish(fid.join(partial)), provenance)


def _order(count: int, keep: int) -> list[int]:
    """All indices in strided order, so that the first `keep` images are spread over the data, whatever their order."""
    stride = max(count // max(keep, 1), 1)
    return [i for start in range(stride) for i in range(start, count, stride)]


def _provenance(dataset: Dataset, inception: inception_weights.Weights) -> dict[str, Any]:
    return {
        "bitdiff": __version__,
        "data": dataset.about,
        "split": "train",
        "shape": list(dataset.shape),
        "fingerprint": fingerprint(dataset.train),
        "count": len(dataset.train),
        "inception_sha256": inception.sha256,
        "resize": fid.RESIZE,
    }
