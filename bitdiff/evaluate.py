"""Measures a trained model: python -m bitdiff.evaluate --workdir DIR."""

import json
from pathlib import Path

from absl import flags
from tqdm import tqdm

from bitdiff import __version__, commands, data, generate, inference, workdir
from bitdiff.logs import table
from bitdiff.sample import option_flags
from bitdiff.tasks import sample_options

_NUM_SAMPLES = flags.DEFINE_integer(
    "evaluate_samples", None, "How many samples are measured; by default the config's.", lower_bound=2
)


def main() -> None:
    """The command."""
    folder = Path(flags.FLAGS.workdir)
    run = inference.open_run(folder)
    config = run.config
    dataset = data.load(config.data)
    data.resolve(config, dataset)
    options = sample_options(config.sample, **option_flags())
    count = _NUM_SAMPLES.value or config.evaluate.num_samples
    batches = generate.generate(
        run.task,
        run.params,
        options,
        num_samples=count,
        batch_size=config.sample.batch_size,
        seed=config.evaluate.seed,
    )
    with tqdm(total=count, unit="sample", desc="sampling", dynamic_ncols=True) as bar:
        outputs = generate.concatenate(generate.with_progress(batches, bar))
    scores = run.task.evaluate(outputs, dataset, options)
    report = {
        "scores": {name: score._asdict() for name, score in scores.items()},
        "provenance": {
            "bitdiff": __version__,
            "workdir": str(folder),
            "step": run.step,
            "weights": f"moving average, decay {config.optimizer.ema_decay}",
            "data": dataset.about,
            "num_samples": count,
            "seed": config.evaluate.seed,
            "sampling": options._asdict() | {"schedule_options": dict(options.schedule_options)},
        },
    }
    workdir.write_text(folder / "evaluation.json", json.dumps(report, indent=2) + "\n")
    print(f"step {run.step}, {count} samples, {options.sampler}, {options.steps} steps, td {options.td:g}")
    print(table([(name, f"{score.value:<10.4g}  {score.about}") for name, score in scores.items()]))
    print(f"written to {folder / 'evaluation.json'}")


if __name__ == "__main__":
    flags.mark_flag_as_required("workdir")
    commands.run(main)
