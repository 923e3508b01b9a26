"""Takes a data set's statistics for FID.

python -m bitdiff.reference --config configs/cifar10.py --inception inception.npz --out cifar10.npz

Stopped and started again, it goes on where it was.
"""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from bitdiff import __version__, commands, data, parallel
from bitdiff.data.dataset import fingerprint
from bitdiff.errors import UsageError
from bitdiff.interrupts import StopSignals
from bitdiff.logs import progress_bar
from bitdiff.metrics import fid, weights

_SAVE_SECONDS = 120


def make_reference(
    dataset: data.Dataset,
    inception: weights.Weights,
    *,
    batch_size: int,
    keep: int,
    partial_path: Path,
    stop: StopSignals,
) -> fid.Reference | None:
    """Summarises all training images, unflipped, with a progress bar; None if a signal stopped it.

    Args:
      dataset: of 8-bit images.
      inception: converted weights.
      batch_size: images at a time over all devices.
      keep: how many images' features are kept for KID, precision and recall; evenly spread over the data.
      partial_path: where the sums are kept every few minutes and when a signal comes, to be gone on with.
      stop: notes the signals.

    Raises:
      UsageError: the data are not 8-bit images.
    """
    if dataset.field != "image" or dataset.vocab_size != 256:
        raise UsageError(f"FID is of 8-bit images; the data are {dataset.about}")
    count = len(dataset.train)
    provenance: dict[str, Any] = {
        "bitdiff": __version__,
        "data": dataset.about,
        "split": "train",
        "shape": list(dataset.shape),
        "fingerprint": fingerprint(dataset.train),
        "count": count,
        "inception_sha256": inception.sha256,
        "resize": fid.RESIZE,
    }
    # Strided, so that the features kept first come from everywhere, whatever order the data are in.
    stride = max(count // max(keep, 1), 1)
    order = [i for start in range(stride) for i in range(start, count, stride)]
    extract = fid.make_extractor(inception, batch_size)
    partial = fid.load_partial(partial_path, provenance | {"keep": keep})
    first = partial.sums.count if partial.sums else 0
    index, processes = parallel.processes()
    order = order[index::processes]
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


def define_flags() -> None:
    """Defines the command's flags."""
    config_flags.DEFINE_config_file("config", None, "The configuration file whose training images are taken.")
    flags.DEFINE_string("inception", None, "Weights written by bitdiff.convert_inception.", required=True)
    flags.DEFINE_string("out", None, "The .npz file to write.", required=True)
    flags.DEFINE_integer("inception_batch_size", 64, "Images at a time over all devices.")
    flags.DEFINE_integer("keep", 10_000, "How many images' features are kept for KID, precision and recall.")
    flags.mark_flag_as_required("config")


def main() -> int:
    """The command."""
    out = commands.out_file(".npz")
    inception = weights.load(Path(flags.FLAGS.inception))
    dataset = data.load(flags.FLAGS.config.data)
    index, processes = parallel.processes()
    partial_path = out.with_suffix(f".progress{index}of{processes}.npz")
    batch_size, keep = flags.FLAGS.inception_batch_size, flags.FLAGS.keep
    with StopSignals() as stop:
        reference = make_reference(
            dataset, inception, batch_size=batch_size, keep=keep, partial_path=partial_path, stop=stop
        )
    if reference is None:
        print(f"stopped by {stop.received.name}; the same command, in as many processes, goes on from {partial_path}")
        return 128 + stop.received
    if parallel.is_main():
        fid.save_reference(out, reference)
    parallel.wait_for_all("the reference is written")
    partial_path.unlink(missing_ok=True)
    print(f"wrote {out}: {reference.provenance['count']} images of {reference.provenance['data']}")
    return 0


if __name__ == "__main__":
    define_flags()
    commands.run(main)
