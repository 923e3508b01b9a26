"""Exports a trained model to one folder that can be shared: python -m bitdiff.export --workdir runs/x --out x.

The folder holds config.json, the moving average of the weights as weights.safetensors, and a model card with the scores
of `bitdiff.evaluate` and their provenance. `bitdiff.load` and all commands open it like a workdir.
"""

from pathlib import Path

from absl import flags

from bitdiff.cli import command, sampling_flags
from bitdiff.inference.exporting import export_model
from bitdiff.runtime import processes


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    flags.DEFINE_string("out", None, "The folder to create.", required=True)


def main() -> None:
    """Runs the command."""
    run = sampling_flags.read_run().open()
    out = Path(flags.FLAGS.out)
    if processes.is_main():
        parameters = export_model(run, out)
        print(f"exported step {run.step} with {parameters:,} parameters to {out}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
