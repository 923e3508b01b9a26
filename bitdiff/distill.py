"""Writes a data set sampled from a trained model: python -m bitdiff.distill --workdir runs/teacher --out distilled.

Captions every training picture of the model's data set; a model of text generates as many sequences as its training
set holds. A model trained with `--config.data.distilled=distilled` then learns these in place of the data's own
(sequence-level distillation; Kim and Rush 2016). With `--beams K`, all K captions are kept, and the student learns
the one that is most typical of all captions (`data/typicality.py`). After an interruption, the same command resumes.
"""

from pathlib import Path

import numpy as np
from absl import flags

from bitdiff import data
from bitdiff.cli import command, sampling_flags
from bitdiff.inference.shards import Layout, write_shards
from bitdiff.inference.trained import check_examples, check_options
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.task import training_examples_for

_SHARD_SIZE = 1_000


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    sampling_flags.define_draw_flags()
    flags.DEFINE_string("out", None, "Folder to write the data set to.", required=True)


def main() -> None:
    """Runs the command."""
    out = Path(flags.FLAGS.out)
    if out.suffix or out.is_file():
        raise UsageError(f"--out is {out}; it must be a folder")
    run = sampling_flags.read_run().open()
    if run.task.field != "tokens":
        raise UsageError(f"only models of tokens can be distilled; {flags.FLAGS.workdir} generates {run.task.field!r}")
    if run.config.data.num_classes:
        raise UsageError(
            f"config.data.num_classes is {run.config.data.num_classes}; only models without classes can be distilled"
        )
    dataset = data.load(run.config.data)
    examples = training_examples_for(run.task, dataset)
    request = sampling_flags.read_draw()
    if request.num_samples is not None:
        raise UsageError("--num_samples is not supported: one sequence is written for every training example")
    samples = request.resolve(run, run.config.sample)._replace(num_samples=len(dataset.train))
    if examples is None and samples.options.sampler == "beam":
        raise UsageError("the sampler is 'beam', which writes the same text every time; pass --sampler random")
    check_examples(run, samples.options, examples)
    check_options(run, [samples.options], samples.batch_size)
    drawn = write_shards(run, samples, None, out, Layout(_SHARD_SIZE, png=False), examples, _sequences)
    print(f"{out} holds {samples.num_samples} sequences from step {run.step}, {drawn} of them sampled now")


def _sequences(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a shard: 'tokens' int [N, beams, L] and 'scores' float [N, beams]."""
    tokens = outputs["beams"] if "beams" in outputs else outputs["tokens"][:, None]
    scores = outputs.get("beam_scores", np.zeros(tokens.shape[:2], np.float32))
    return {"tokens": tokens, "scores": scores, "invalid": outputs["invalid"]}


if __name__ == "__main__":
    define_flags()
    command.run(main)
