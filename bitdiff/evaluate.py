"""Measures a trained model: python -m bitdiff.evaluate --workdir DIR."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags

from bitdiff import __version__, commands, data, files, inference, parallel, plots, workdir
from bitdiff.data.dataset import deal_labels
from bitdiff.errors import UsageError
from bitdiff.logs import progress_bar, table
from bitdiff.metrics import captions, fid, weights
from bitdiff.tasks import SampleOptions, Score, evaluations, examples_for


class Judge(NamedTuple):
    """What FID is measured with."""

    inception: weights.Weights
    reference: fid.Reference


def open_judge(run: inference.Trained) -> Judge | None:
    """Loads what --inception and --reference name, or None if neither is given.

    Raises:
      UsageError: one flag without the other, a bad file, or a model of something else than 8-bit images.
    """
    paths = flags.FLAGS.inception, flags.FLAGS.reference
    if paths == (None, None):
        return None
    if None in paths:
        raise UsageError("FID needs both --inception (weights) and --reference (statistics of the data)")
    config = run.config
    if run.task.field != "image" or config.data.vocab_size != 256:
        raise UsageError("FID is of 8-bit images, which this model does not generate")
    inception = weights.load(Path(paths[0]))
    size = config.data.image_size
    return Judge(inception, fid.load_reference(Path(paths[1]), inception, (size, size, config.data.channels)))


def inception_scores(images: np.ndarray, judge: Judge, batch_size: int) -> dict[str, Score]:
    """FID and its kin of uint8 [N, H, W, C], with a progress bar; each process takes features of its share."""
    extract = fid.make_extractor(judge.inception, batch_size)
    keep = len(judge.reference.summary.pool)
    share = parallel.my_share(len(images))
    partial = fid.Partial()
    with progress_bar("features", "image", total=len(share), shown=parallel.is_main()) as bar:
        for start in range(share.start, share.stop, extract.batch_size):
            batch = images[start : min(start + extract.batch_size, share.stop)]
            partial = fid.add(partial, extract(batch), keep=fid.kept_here(keep), keep_logits=True)
            bar.update(len(batch))
    summary = fid.finish(fid.join(partial))
    facts = judge.reference.provenance
    about = f"{len(images)} samples against {facts['count']} images: {facts['data']}"
    return {name: Score(value, about) for name, value in fid.scores(summary, judge.reference).items()}


def define_flags() -> None:
    """Defines the command's flags."""
    inference.define_flags()
    define_data_flags()


def define_data_flags() -> None:
    """Defines the flags that `open_data` and `open_judge` read."""
    flags.DEFINE_string("data_path", None, "Where the data are now, if not where the config says.")
    flags.DEFINE_string("tokenizer", None, "Of captions, into words: none or treebank; by default the config's.")
    flags.DEFINE_string("inception", None, "For FID: weights written by bitdiff.convert_inception.")
    flags.DEFINE_string("reference", None, "For FID: statistics of the data written by bitdiff.reference.")
    flags.DEFINE_integer("inception_batch_size", 64, "Images at a time over all devices.")


def open_data(config: Any) -> data.Dataset:
    """The data set a run was trained on, at --data_path if given, else where the config says."""
    if flags.FLAGS.data_path is not None:
        config.data.path = flags.FLAGS.data_path
    if flags.FLAGS.tokenizer is not None:
        config.evaluate.tokenizer = flags.FLAGS.tokenizer
    captions.check_tokenizer(config.evaluate.tokenizer)
    dataset = data.load(config.data)
    data.resolve(config, dataset)
    return dataset


def measure(
    run: inference.Trained,
    options: SampleOptions,
    dataset: data.Dataset,
    judge: Judge | None,
    *,
    num_samples: int,
    seed: int,
) -> tuple[dict[str, Score], dict[str, np.ndarray]]:
    """Draws samples, with labels as the training data have them, and scores them: (scores, the samples)."""
    labels = None
    images = examples_for(run.task, dataset)
    if run.config.data.num_classes and dataset.label_shares and images is None:
        labels = deal_labels(dataset.label_shares, num_samples)
    if dataset.field == "captions" and num_samples > len(images):
        raise UsageError(
            f"{num_samples} captions were asked for, one of each test picture, of which there are {len(images)}; "
            "lower --num_samples (config.evaluate.num_samples)"
        )
    outputs = inference.draw(run, options, num_samples=num_samples, seed=seed, labels=labels, images=images)
    scores = run.task.evaluate(outputs, dataset, options)
    if judge:
        scores |= inception_scores(outputs["image"], judge, flags.FLAGS.inception_batch_size)
    return scores, outputs


def provenance(run: inference.Trained, dataset: data.Dataset, judge: Judge | None) -> dict[str, Any]:
    """Where scores come from: versions, weights, data, reference."""
    return {
        "bitdiff": __version__,
        "jax": f"{jax.__version__} on {parallel.describe_devices()}",
        "workdir": str(run.folder),
        "step": run.step,
        "weights": f"moving average, decay {run.config.optimizer.ema_decay}",
        "data": dataset.about,
        "labels": _about_labels(run, dataset),
        "prior": workdir.plain(run.config.prior) if run.config.task == "prior" else None,
        "latents": "inferred from test examples" if run.task.infer else None,
        "words": run.config.evaluate.tokenizer if dataset.field == "captions" else None,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "reference": judge.reference.provenance if judge else None,
    }


def _about_labels(run: inference.Trained, dataset: data.Dataset) -> str:
    if run.task.told_by_examples:
        return "of the test examples"
    return "in the training data's shares" if dataset.label_shares else "all classes alike"


def main() -> None:
    """The command."""
    run = inference.open_run(Path(flags.FLAGS.workdir), flags.FLAGS.checkpoint, flags.FLAGS.prior_steps)
    section = run.config.evaluate
    options = inference.apply_flags(run.config, section)
    inference.check_options(run, [options])
    judge = open_judge(run)
    dataset = open_data(run.config)
    scores, outputs = measure(run, options, dataset, judge, num_samples=section.num_samples, seed=section.seed)
    report = {
        "scores": {name: score._asdict() for name, score in scores.items()},
        "provenance": provenance(run, dataset, judge)
        | {"num_samples": section.num_samples, "seed": section.seed}
        | {"sampling": options._asdict() | {"schedule_options": dict(options.schedule_options)}}
        | {"evaluations": evaluations(options)},
    }
    if "histogram" in outputs:
        scale = run.config.bits.scale
        report["analog_bits"] = {"from": -scale, "to": scale, "counts": outputs["histogram"].sum(0).tolist()}
    path = run.folder / "evaluation.json"
    if not parallel.is_main():
        return
    files.write_text(path, json.dumps(report, indent=2) + "\n")
    written = [path]
    if "analog_bits" in report:
        written.append(run.folder / "analog_bits.png")
        plots.histogram(written[-1], report["analog_bits"]["counts"], run.config.bits.scale)
    if dataset.field == "captions":
        written.append(run.folder / "captions.json")
        numbers = [int(i) for i in outputs["source"]]
        ids = [dataset.test.id(i) for i in numbers] if hasattr(dataset.test, "id") else numbers
        texts = run.tokenizer.texts(outputs["tokens"])
        files.write_text(written[-1], captions.results(ids, texts))
    how = f"{options.sampler}, {options.steps} steps ({evaluations(options)} evaluations), td {options.td:g}"
    how += f", guidance {options.guidance:g}"
    how += f", lag {options.lag:g}" if options.lag else ""
    how = f"{options.sampler}, {options.beams} beams" if run.config.task == "autoregressive" else how
    print(f"step {run.step}, {section.num_samples} samples, {how}")
    print(table([(name, f"{score.value:<10.4g}  {score.about}") for name, score in scores.items()]))
    print(f"written to {', '.join(map(str, written))}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
