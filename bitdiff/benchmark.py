"""Measures how fast a configuration runs here: python -m bitdiff.benchmark --config digits --out bench.json.

--compare before.json,after.json prints the ratios of two such files.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import flags
from ml_collections import config_flags

from bitdiff import data
from bitdiff.cli import command
from bitdiff.evaluation import speed_reports
from bitdiff.evaluation.speed import PARTS, Bench
from bitdiff.runtime import files, processes
from bitdiff.runtime.console import announced, table
from bitdiff.runtime.devices import describe_devices
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.runtime.version import __version__
from bitdiff.tasks import make_task
from bitdiff.training import workdir
from bitdiff.training.checks import check_training, device_divisor
from bitdiff.training.optimizer import optimizer_of
from bitdiff.training.setup import training_batches


class Request(NamedTuple):
    """What to measure: the config, the parts, the time per measurement, and where the numbers go.

    arguments: command-line arguments of bitdiff.train that reproduce the config.
    """

    config: ml_collections.ConfigDict
    arguments: list[str]
    parts: list[str]
    seconds: float
    out: Path | None


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration to measure", required=False)
    parts = [name for name in PARTS if name != "features"]
    flags.DEFINE_list("parts", parts, f"What to measure: {', '.join(PARTS)}.")
    flags.DEFINE_float("seconds", 10.0, "Approximate time of each measurement.", lower_bound=0.0)
    flags.DEFINE_string("out", None, "JSON file to write the numbers to; by default they are only printed.")
    flags.DEFINE_list("compare", None, "Two files written by --out, to compare; nothing is measured.")


def main() -> None:
    """Runs the command."""
    values = flags.FLAGS
    if values.compare is not None:
        print(speed_reports.compare(values.compare))
        return
    if values.config is None:
        raise UsageError("pass --config to measure, or --compare to compare")
    flag = flags.FLAGS["config"]
    arguments = [f"--config={config_flags.get_config_filename(flag)}"]
    arguments += [f"--config.{name}={value}" for name, value in config_flags.get_override_values(flag).items()]
    out = None if values.out is None else Path(values.out)
    measure(Request(values.config, arguments, values.parts, values.seconds, out))


def measure(request: Request) -> None:
    """Measures the parts, prints each as it is measured, and writes a report."""
    for part in request.parts:
        choose("part (--parts)", part, PARTS)
    if request.out:
        files.check_writable(request.out)
    dataset = data.load(request.config.data)
    config = data.resolve(request.config, dataset)
    task = make_task(config)
    check_training(config, task, dataset, optimizer_of(config, task))
    bench = Bench(config, dataset, next(training_batches(config, dataset)), request.seconds, request.arguments)
    report: dict[str, Any] = {
        "device": describe_devices(),
        "versions": {"bitdiff": __version__, "jax": jax.__version__},
        "config": workdir.plain(config),
        "parts": {},
    }
    parts: dict[str, dict[str, float]] = report["parts"]
    names = ", ".join(request.parts)
    print(f"measuring {names}: about {request.seconds:g} s for each number, plus compilation", flush=True)
    for part in request.parts:
        with announced(f"measuring {part}", shown=processes.is_main()):
            parts[part] = PARTS[part](bench)
        if "training" in parts and part == "data":
            parts["data"]["over_training"] = parts["data"]["batches_per_second"] / parts["training"]["steps_per_second"]
        rows = [(f"{part}: {name.replace('_', ' ')}", f"{value:.4g}") for name, value in parts[part].items()]
        print(table(rows), flush=True)
        if request.out and processes.is_main():
            files.write_text(request.out, json.dumps(report, indent=2) + "\n")  # in case later parts are interrupted


if __name__ == "__main__":
    define_flags()
    command.run(main, divisor=lambda: device_divisor(flags.FLAGS.config or {}))
