"""Draws samples from a trained model: python -m bitdiff.sample --workdir DIR --num_samples 64 --out samples.npz."""

import os
from pathlib import Path

import numpy as np
from absl import flags

from bitdiff import commands, inference, pictures
from bitdiff.errors import UsageError


def define_flags() -> None:
    """Defines the command's flags."""
    inference.define_flags()
    flags.DEFINE_string("out", "samples.npz", "The .npz file to write; a picture or text is written beside it.")
    flags.DEFINE_list("labels", None, "Classes by number, dealt to the samples in turn; by default all of them.")


def main() -> None:
    """The command."""
    out, labels = Path(flags.FLAGS.out), flags.FLAGS.labels
    if out.suffix != ".npz" or not out.parent.is_dir():
        raise UsageError(f"--out is {out}; it must be an .npz file in a folder that exists")
    try:
        labels = None if labels is None else tuple(int(label) for label in labels)
    except ValueError as error:
        raise UsageError(f"--labels is {','.join(labels)}; it must be class numbers, as in 0,1,2") from error
    run = inference.open_run(Path(flags.FLAGS.workdir))
    section = run.config.sample
    options = inference.apply_flags(run.config, section)
    outputs = inference.draw(run, options, num_samples=section.num_samples, seed=section.seed, labels=labels)
    partial = out.with_name(out.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **outputs)
    os.replace(partial, out)
    columns = len(labels) if labels else run.config.data.num_classes
    preview = pictures.write_preview(out, outputs, run.config.data.vocab_size, columns or None)
    print(f"{len(outputs['invalid'])} samples of step {run.step} in {out}, to look at in {preview}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
