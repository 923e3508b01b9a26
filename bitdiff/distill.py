"""Writes a data set sampled from a trained model: python -m bitdiff.distill --workdir runs/teacher --out distilled.

Every training picture of the model's data set gets a caption; a model of text without pictures writes as many sequences
as it was trained on. A model trained with `--config.data.distilled=distilled` then learns these in place of the data's
own (sequence-level distillation; Kim and Rush 2016). After an interruption, the same command resumes.
"""

from pathlib import Path

from absl import flags

from bitdiff import data
from bitdiff.cli import command, sampling_flags
from bitdiff.data.distilled import RECORD
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
    dataset = data.load(run.config.data)
    examples = training_examples_for(run.task, dataset)
    request = sampling_flags.read_draw()
    count = len(dataset.train) if request.num_samples is None else request.num_samples
    if count < len(dataset.train):
        raise UsageError(
            f"--num_samples is {count}; it must be {len(dataset.train)}, the number of training examples, or more"
        )
    samples = request.resolve(run, run.config.sample)._replace(num_samples=count)
    check_examples(run, samples.options, examples)
    check_options(run, [samples.options], samples.batch_size)
    drawn = write_shards(run, samples, None, out, Layout(_SHARD_SIZE, png=False), examples)
    print(f"{out} holds {count} sequences from step {run.step} ({drawn} of them sampled now) and {RECORD}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
