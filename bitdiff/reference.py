"""Takes a data set's statistics for FID.

python -m bitdiff.reference --config configs/cifar10.py --inception inception.npz --out cifar10.npz
"""

from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from bitdiff import __version__, commands, data
from bitdiff.errors import UsageError
from bitdiff.logs import progress_bar
from bitdiff.metrics import fid, weights


def make_reference(dataset: data.Dataset, inception: weights.Weights, *, batch_size: int, keep: int) -> fid.Reference:
    """Summarises all training images, unflipped, with a progress bar.

    Args:
      dataset: of 8-bit images.
      inception: converted weights.
      batch_size: images at a time over all devices.
      keep: how many images' features are kept for KID, precision and recall; evenly spread over the data.

    Raises:
      UsageError: the data are not 8-bit images.
    """
    if dataset.field != "image" or dataset.vocab_size != 256:
        raise UsageError(f"FID is of 8-bit images; the data are {dataset.about}")
    count = len(dataset.train)
    # Strided, so that the features kept first come from everywhere, whatever order the data are in.
    stride = max(count // max(keep, 1), 1)
    order = [i for start in range(stride) for i in range(start, count, stride)]
    extract = fid.make_extractor(inception, batch_size)
    with progress_bar("reference", "image", total=count) as bar:

        def images():
            for i in order:
                yield dataset.train[i]["image"]
                bar.update()

        summary = fid.summarise(fid.in_batches(images(), batch_size), extract, keep=keep, keep_logits=False)
    provenance: dict[str, Any] = {
        "bitdiff": __version__,
        "data": dataset.about,
        "count": count,
        "inception_sha256": inception.sha256,
        "resize": fid.RESIZE,
    }
    return fid.Reference(summary, provenance)


def define_flags() -> None:
    """Defines the command's flags."""
    config_flags.DEFINE_config_file("config", None, "The configuration file whose training images are taken.")
    flags.DEFINE_string("inception", None, "Weights written by bitdiff.convert_inception.", required=True)
    flags.DEFINE_string("out", None, "The .npz file to write.", required=True)
    flags.DEFINE_integer("inception_batch_size", 64, "Images at a time over all devices.")
    flags.DEFINE_integer("keep", 10_000, "How many images' features are kept for KID, precision and recall.")
    flags.mark_flag_as_required("config")


def main() -> None:
    """The command."""
    out = Path(flags.FLAGS.out)
    if out.suffix != ".npz" or not out.parent.is_dir():
        raise UsageError(f"--out is {out}; it must be an .npz file in a folder that exists")
    inception = weights.load(Path(flags.FLAGS.inception))
    dataset = data.load(flags.FLAGS.config.data)
    batch_size, keep = flags.FLAGS.inception_batch_size, flags.FLAGS.keep
    reference = make_reference(dataset, inception, batch_size=batch_size, keep=keep)
    fid.save_reference(out, reference)
    print(f"wrote {out}: {reference.provenance['count']} images of {reference.provenance['data']}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
