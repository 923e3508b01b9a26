"""Draws samples from a trained model: python -m bitdiff.sample --workdir DIR --num_samples 64 --out samples.npz."""

import os
from pathlib import Path

import numpy as np
from absl import flags
from tqdm import tqdm

from bitdiff import commands, generate, inference, pictures
from bitdiff.errors import UsageError
from bitdiff.tasks import sample_options

_WORKDIR = flags.DEFINE_string("workdir", None, "The folder of a training run.")
_OUT = flags.DEFINE_string("out", "samples.npz", "The .npz file to write; a picture or text is written beside it.")
_NUM_SAMPLES = flags.DEFINE_integer("num_samples", 64, "How many samples.", lower_bound=1)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", None, "Samples at a time over all devices; by default the config's.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the noise; sample i depends on the seed, i and its label alone.")
_LABELS = flags.DEFINE_list("labels", None, "Classes by number, dealt to the samples in turn; by default all of them.")
flags.DEFINE_string("sampler", None, "ddim, ddpm, ddpm_small or dpm++; by default the config's.")
flags.DEFINE_integer("steps", None, "Network evaluations per sample; by default the config's.")
flags.DEFINE_float("td", None, "Asymmetric time intervals, in steps; by default the config's.")
flags.DEFINE_float("guidance", None, "Classifier-free guidance, 0 for none; by default the config's.")
flags.DEFINE_float("momentum", None, "Of the self-conditioning estimate; by default the config's.")


def option_flags() -> dict[str, str | int | float | None]:
    """The sampling options given as flags; None where a flag was not given."""
    return {name: flags.FLAGS[name].value for name in ("sampler", "steps", "td", "guidance", "momentum")}


def main() -> None:
    """The command."""
    out = Path(_OUT.value)
    if out.suffix != ".npz" or not out.parent.is_dir():
        raise UsageError(f"--out is {out}; it must be an .npz file in a folder that exists")
    try:
        labels = None if _LABELS.value is None else tuple(int(label) for label in _LABELS.value)
    except ValueError as error:
        raise UsageError(f"--labels is {','.join(_LABELS.value)}; it must be class numbers, as in 0,1,2") from error
    run = inference.open_run(Path(_WORKDIR.value))
    options = sample_options(run.config.sample, **option_flags())
    batches = generate.generate(
        run.task,
        run.params,
        options,
        num_samples=_NUM_SAMPLES.value,
        batch_size=_BATCH_SIZE.value or run.config.sample.batch_size,
        seed=_SEED.value,
        labels=labels,
    )
    with tqdm(total=_NUM_SAMPLES.value, unit="sample", desc="sampling", dynamic_ncols=True) as bar:
        outputs = generate.concatenate(generate.with_progress(batches, bar))
    partial = out.with_name(out.name + ".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **outputs)
    os.replace(partial, out)
    columns = len(labels) if labels else run.config.data.num_classes
    preview = pictures.write_preview(out, outputs, run.config.data.vocab_size, columns or None)
    print(f"{_NUM_SAMPLES.value} samples of step {run.step} in {out}, to look at in {preview}")


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    commands.run(main)
