"""Writes a page about a run: python -m bitdiff.report --workdir runs/digits.

The page is one HTML file that works offline: config, curves, samples, a trajectory with a slider, the histogram of the
bits, and the evaluation and sweep if there are any.
"""

from pathlib import Path

from absl import flags

from bitdiff.cli import command, sampling_flags
from bitdiff.cli.data_flags import define_path_flag
from bitdiff.evaluation.run_report import Shown, sections
from bitdiff.figures import html_page
from bitdiff.inference.trained import check_options, report_folder
from bitdiff.runtime import files, processes


def define_flags() -> None:
    """Defines the command's flags."""
    sampling_flags.define_run_flags()
    sampling_flags.define_draw_flags()
    define_path_flag()
    flags.DEFINE_integer("frames", 12, "Frames of the trajectory, up to one per step.", lower_bound=2, upper_bound=200)
    flags.DEFINE_string("out", None, "The .html file to write; by default report.html in the workdir.")


def main() -> None:
    """Runs the command."""
    run = sampling_flags.read_run().open()
    samples = sampling_flags.read_draw().resolve(run, run.config.sample)
    check_options(run, [samples.options], samples.batch_size, samples.num_samples)
    out = Path(flags.FLAGS.out) if flags.FLAGS.out else report_folder(run) / "report.html"
    out = command.out_file(str(out), ".html")
    frames = min(flags.FLAGS.frames, max(samples.options.steps, 1))
    title = f"{run.config.data.name}: {run.folder.resolve().name if run.folder else out.stem}"
    document = html_page.page(title, sections(run, Shown(samples, frames, flags.FLAGS.data_path)))
    if processes.is_main():
        files.write_text(out, document)
        print(f"wrote {out}")


if __name__ == "__main__":
    define_flags()
    command.run(main)
