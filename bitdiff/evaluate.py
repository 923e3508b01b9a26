"""Measures a trained model: python -m bitdiff.evaluate --workdir DIR."""

import json
from pathlib import Path

import jax
from absl import flags

from bitdiff import __version__, commands, data, inference, parallel, workdir
from bitdiff.logs import table


def main() -> None:
    """The command."""
    run = inference.open_run(Path(flags.FLAGS.workdir))
    section = run.config.evaluate
    options = inference.apply_flags(run.config, section)
    dataset = data.load(run.config.data)
    data.resolve(run.config, dataset)
    outputs = inference.draw(run, options, num_samples=section.num_samples, seed=section.seed)
    scores = run.task.evaluate(outputs, dataset, options)
    report = {
        "scores": {name: score._asdict() for name, score in scores.items()},
        "provenance": {
            "bitdiff": __version__,
            "jax": f"{jax.__version__} on {parallel.describe_devices()}",
            "workdir": str(run.folder),
            "step": run.step,
            "weights": f"moving average, decay {run.config.optimizer.ema_decay}",
            "data": dataset.about,
            "num_samples": section.num_samples,
            "seed": section.seed,
            "sampling": options._asdict() | {"schedule_options": dict(options.schedule_options)},
        },
    }
    path = run.folder / "evaluation.json"
    workdir.write_text(path, json.dumps(report, indent=2) + "\n")
    print(
        f"step {run.step}, {section.num_samples} samples, {options.sampler}, {options.steps} steps, td {options.td:g}"
    )
    print(table([(name, f"{score.value:<10.4g}  {score.about}") for name, score in scores.items()]))
    print(f"written to {path}")


if __name__ == "__main__":
    inference.define_flags()
    commands.run(main)
