"""Exports a trained model to one folder that can be shared: python -m bitdiff.export --workdir runs/x --out x.

The folder holds config.json, the moving average of the weights as weights.safetensors, and a model card with the scores
of `bitdiff.evaluate` and their provenance. `bitdiff.load` and all commands open it like a workdir.
"""

from pathlib import Path

from absl import flags
from clu import parameter_overview

from bitdiff.cli import command, sampling_flags
from bitdiff.inference.exported import write_export
from bitdiff.inference.model_card import model_card, read_evaluation
from bitdiff.runtime import processes
from bitdiff.training import workdir


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    flags.DEFINE_string("out", None, "The folder to create.", required=True)


def main() -> None:
    """Runs the command."""
    run = sampling_flags.read_run().open()
    out = Path(flags.FLAGS.out)
    parameters = parameter_overview.count_parameters(run.params)
    card = model_card(out.name, run.config, run.step, parameters, read_evaluation(run.folder))
    if processes.is_main():
        config = workdir.plain(run.config)
        write_export(out, config, run.params, run.step, card, run.folder / "tokenizer.model")
        print(f"exported step {run.step} with {parameters:,} parameters to {out}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
