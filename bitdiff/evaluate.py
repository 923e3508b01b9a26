"""Measures a trained model: python -m bitdiff.evaluate --workdir runs/digits."""

from typing import NamedTuple

from bitdiff.cli import command, sampling_flags
from bitdiff.cli.data_flags import DataRequest, define_data_flags, read_data
from bitdiff.cli.sampling_flags import DrawRequest, RunRequest
from bitdiff.evaluation.likelihood import open_likelihood
from bitdiff.evaluation.scores import measure, write_report
from bitdiff.inference.trained import check_options, report_folder
from bitdiff.runtime import files, processes
from bitdiff.runtime.console import table
from bitdiff.tasks import GUIDANCE, SampleOptions, Task, network_evaluations


class Request(NamedTuple):
    """What to measure: which model, with which samples, on which data."""

    run: RunRequest
    draw: DrawRequest
    data: DataRequest


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    sampling_flags.define_draw_flags()
    define_data_flags()


def main() -> None:
    """Runs the command."""
    evaluate(Request(sampling_flags.read_run(), sampling_flags.read_draw(), read_data()))


def evaluate(request: Request) -> None:
    """Measures a model, prints a table, and writes evaluation.json."""
    run = request.run.open()
    samples = request.draw.resolve(run, run.config.evaluate)
    check_options(run, [samples.options], samples.batch_size, samples.num_samples)
    if processes.is_main():
        files.check_writable(report_folder(run) / "evaluation.json")
    likelihood = open_likelihood(run)
    judges = request.data.open_judges(run) + ([likelihood] if likelihood else [])
    run, dataset = request.data.open(run)
    results = measure(run, samples, dataset, judges)
    if not processes.is_main():
        return
    print(f"step {run.step}, {samples.num_samples} samples, {describe(samples.options, run.task)}")
    print(table([(name, f"{score.value:<10.4g}  {score.about}") for name, score in results[0].items()]))
    written = write_report(run, samples, dataset, judges, results)
    print(f"written to {', '.join(map(str, written))}")


def describe(options: SampleOptions, task: Task) -> str:
    """The sampling options in words."""
    if not options.steps:
        return f"{options.sampler}, {options.beams} beams"
    text = f"{options.sampler}, {options.steps} steps ({network_evaluations(options, task)} network evaluations)"
    text += f", td {options.td:g}"
    for name in (*GUIDANCE, "self_guidance", "lag", "churn_fraction"):
        text += f", {name.replace('_', ' ')} {getattr(options, name):g}" if getattr(options, name) else ""
    if options.temperature != 1:
        text += f", temperature {options.temperature:g}"
    if options.churn[0]:
        text += f", churn {','.join(f'{value:g}' for value in options.churn)}"
    if options.restarts:
        text += f", {len(options.restarts)} restarts"
    return text if options.schedule == "auto" else f"{text}, schedule {options.schedule}"


if __name__ == "__main__":
    define_flags()
    command.run(main)
