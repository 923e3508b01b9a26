"""Writes a data set sampled from a trained model: python -m bitdiff.distill --workdir runs/teacher --out distilled.

Captions every training picture of the model's data set; a model of text generates as many sequences as its training
set holds. A model trained with `--config.data.distilled=distilled` then learns these in place of the data's own
(sequence-level distillation; Kim and Rush 2016). With `--beams K`, all K captions are kept, and the student learns
the one that is most typical of all captions (`data/typicality.py`). After an interruption, the same command resumes.

With a docking run, it writes poses sampled for the training complexes, on which a confidence model is trained
(configs/docking.py); `--num_samples` sets their number, by default one per complex.
"""

from functools import partial
from pathlib import Path

import numpy as np
from absl import flags

from bitdiff import data
from bitdiff.cli import command, sampling_flags
from bitdiff.data import Source
from bitdiff.data.distilled import fingerprint
from bitdiff.inference.shards import Layout, write_shards
from bitdiff.inference.trained import check_examples, check_options
from bitdiff.runtime import files
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import docking_scores
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
    if run.task.field not in ("tokens", "pose"):
        raise UsageError(
            f"bitdiff.distill requires a model of tokens or of poses; {flags.FLAGS.workdir} generates "
            f"{run.task.field!r}"
        )
    if run.config.task == "confidence":
        raise UsageError(
            f"{flags.FLAGS.workdir} holds a confidence model; pass the docking run whose poses it ranks, "
            f"{run.config.first_run}"
        )
    if run.config.data.num_classes:
        raise UsageError(
            f"config.data.num_classes is {run.config.data.num_classes}; only models without classes can be distilled"
        )
    dataset = data.load(run.config.data)
    examples = training_examples_for(run.task, dataset)
    request = sampling_flags.read_draw()
    poses = run.task.field == "pose"
    if request.num_samples is not None and not poses:
        raise UsageError(
            f"--num_samples is {request.num_samples}; it is for docking runs: with tokens, one sequence is written per "
            "training example"
        )
    count = request.num_samples or len(dataset.train)
    samples = request.resolve(run, run.config.sample)._replace(num_samples=count)
    if examples is None and samples.options.sampler == "beam":
        raise UsageError("the sampler is 'beam', which writes the same text every time; pass --sampler random")
    check_examples(run, samples.options, examples)
    check_options(run, [samples.options], samples.batch_size)
    arrays = partial(_poses, dataset.train) if poses else _sequences
    drawn = write_shards(run, samples, None, out, Layout(_SHARD_SIZE, png=False), examples, arrays)
    what = "poses" if poses else "sequences"
    print(f"{out} holds {samples.num_samples} {what} from step {run.step}, {drawn} of them new")
    if poses:
        parts = [files.read_arrays(path, ["deviation"])["deviation"] for path in out.glob("[0-9]*.npz")]
        close = np.mean(np.concatenate(parts) < docking_scores.CLOSE)
        print(f"{close:.1%} of them are within 2 A of the pose in the data")


def _sequences(outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a shard: 'tokens' int [N, beams, L] and 'scores' float [N, beams]."""
    tokens = outputs["beams"] if "beams" in outputs else outputs["tokens"][:, None]
    scores = outputs.get("beam_scores", np.zeros(tokens.shape[:2], np.float32))
    return {"tokens": tokens, "scores": scores, "invalid": outputs["invalid"]}


def _poses(examples: Source, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a shard: 'pose' float [N, A, 3], 'source' int [N], 'deviation' float [N], the RMSD, and 'complex'.

    'complex' int64 [N] identifies the complex that had this index.
    """
    deviation = docking_scores.deviations(outputs, examples).astype(np.float32)
    complexes = [fingerprint(*pair) for pair in zip(outputs["atoms"], outputs["residues"], strict=True)]
    found = {"deviation": deviation, "complex": np.array(complexes, np.int64)}
    return {name: outputs[name] for name in ("pose", "source", "invalid")} | found


if __name__ == "__main__":
    define_flags()
    command.run(main)
