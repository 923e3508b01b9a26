"""Computes the statistics of a data set for FID.

    python -m bitdiff.reference --config cifar10 --inception inception.npz --out cifar10.npz

After an interruption, the same command resumes.
"""

from pathlib import Path

from absl import flags

from bitdiff import data
from bitdiff.cli import command
from bitdiff.evaluation.fid_reference import make_reference
from bitdiff.metrics import fid, inception_weights
from bitdiff.runtime import processes
from bitdiff.runtime.interrupts import StopSignals


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration whose training images are used")
    flags.DEFINE_string("inception", None, "Weights written by bitdiff.convert_inception.", required=True)
    flags.DEFINE_string("out", None, "The .npz file to write.", required=True)
    flags.DEFINE_integer("inception_batch_size", 64, "Images per batch over all devices.")
    flags.DEFINE_integer("keep", 10_000, "Images whose features are kept for KID, precision and recall.")


def main() -> int:
    """Runs the command."""
    values = flags.FLAGS
    out = command.out_file(values.out, ".npz")
    inception = inception_weights.load(Path(values.inception))
    dataset = data.load(values.config.data)
    index, count = processes.processes()
    partial_path = out.with_suffix(f".progress{index}of{count}.npz")
    with StopSignals(quiet=not processes.is_main()) as stop:
        reference = make_reference(
            dataset,
            inception,
            batch_size=values.inception_batch_size,
            keep=values.keep,
            partial_path=partial_path,
            stop=stop,
        )
    if reference is None:
        assert stop.received is not None
        print(
            f"stopped by {stop.received.name}; the same command with the same number of processes resumes from "
            f"{partial_path}"
        )
        return 128 + stop.received
    if processes.is_main():
        fid.save_reference(out, reference)
    processes.wait_for_all("the reference is written")
    partial_path.unlink(missing_ok=True)
    print(f"wrote {out}: {reference.provenance['count']} images from {reference.provenance['data']}")
    return 0


if __name__ == "__main__":
    define_flags()
    command.run(main)
