"""Measures a noise schedule from a trained model: python -m bitdiff.schedule --workdir DIR.

Writes DIR/schedule.json: noise levels at equal quantiles of a density derived from the model's entropy rate. Then
`--schedule measured` samples from the model with them, and another model is trained with
`--config.diffusion.schedule=measured --config.diffusion.schedule_run=DIR`. DIR/schedule.png shows the rate.
"""

import json
from typing import NamedTuple

from absl import flags

from bitdiff.cli import command, sampling_flags
from bitdiff.cli.sampling_flags import RunRequest
from bitdiff.evaluation.entropy_rate import entropy_rate, equal_quantiles
from bitdiff.figures import plots
from bitdiff.inference import exported
from bitdiff.inference.trained import report_folder
from bitdiff.runtime import files, processes
from bitdiff.runtime.errors import UsageError
from bitdiff.training.schedule_file import NAME


class Request(NamedTuple):
    """Which model to measure, and how finely."""

    run: RunRequest
    examples: int
    rounds: int
    bins: int
    power: float
    levels: int
    cutoff: float
    seed: int


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    flags.DEFINE_integer("examples", 1_000, "Maximum number of test examples.", lower_bound=1)
    flags.DEFINE_integer("rounds", 20, "Random noise levels per example.", lower_bound=1)
    flags.DEFINE_integer("bins", 64, "Intervals of ln(gamma / (1 - gamma)).", lower_bound=2)
    flags.DEFINE_float("power", 0.5, "Exponent of the entropy rate in the density; 0.5 as in CoBit.")
    flags.DEFINE_integer("levels", 65, "Number of levels in the file.", lower_bound=2)
    flags.DEFINE_float("cutoff", 0.2, "Sigma below which noise levels become rare, in units of the scale of the bits.")
    flags.DEFINE_integer("seed", 0, "Seed of the noise levels and the noise.", lower_bound=0)


def main() -> None:
    """Runs the command."""
    values = flags.FLAGS
    run = sampling_flags.read_run()
    sizes = values.examples, values.rounds, values.bins
    measure(Request(run, *sizes, values.power, values.levels, values.cutoff, values.seed))


def measure(request: Request) -> None:
    """Measures the rate, and writes the schedule and the plot."""
    run = request.run.open()
    if run.folder is not None and exported.is_export(run.folder):
        raise UsageError(f"{run.folder} is an exported model, which holds no schedule; pass the workdir of a run")
    rate = entropy_rate(run, examples=request.examples, rounds=request.rounds, bins=request.bins, seed=request.seed)
    cutoff = request.cutoff * run.config.bits.scale
    levels = equal_quantiles(rate, power=request.power, count=request.levels, cutoff=cutoff)
    if not processes.is_main():
        return
    folder = report_folder(run)
    report = {
        "levels": levels.tolist(),
        "power": request.power,
        "cutoff": request.cutoff,
        "step": run.step,
        "log_snr": rate.log_snr.tolist(),
        "rate": rate.rate.tolist(),
    }
    files.write_text(folder / NAME, json.dumps(report, indent=2) + "\n")
    line = dict(zip(rate.log_snr.tolist(), rate.rate.tolist(), strict=True))
    picture = folder / "schedule.png"
    plots.curves(picture, {str(folder): line}, x_label="ln(gamma / (1 - gamma))", y_label="entropy rate, nats per bit")
    print(f"wrote {folder / NAME} and {picture}; sample with --schedule measured")


if __name__ == "__main__":
    define_flags()
    command.run(main)
