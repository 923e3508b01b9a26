"""Compares the sweeps of several runs: python -m bitdiff.compare --workdirs 'runs/photos/*' --score swd.

Runs whose configs differ only in the seed form one row, with their mean and standard deviation. A row is named after
the fields in which its config differs from that of the first run; a column is a cell of the sweeps.
"""

import sys
from glob import glob
from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.evaluation.comparison import group, markdown, read
from bitdiff.evaluation.sweep_cells import SWEEP_FILE
from bitdiff.runtime import files
from bitdiff.runtime.errors import UsageError


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("workdirs", None, "Folders of swept runs, or patterns such as 'runs/*'.", required=True)
    flags.DEFINE_list("score", None, "Scores to compare, one table each.", required=True)
    flags.DEFINE_string("out", None, "Markdown file to write the tables to; by default they are only printed.")


def main() -> None:
    """Runs the command."""
    folders = find_folders(flags.FLAGS.workdirs)
    if not folders or not flags.FLAGS.score:
        raise UsageError("--workdirs and --score must not be empty")
    out = None if flags.FLAGS.out is None else Path(flags.FLAGS.out)
    if out:
        files.check_writable(out)
    rows = group(map(read, folders))
    text = "\n".join(markdown(rows, score) for score in flags.FLAGS.score)
    print(text)
    if out:
        files.write_text(out, text)


def find_folders(patterns: list[str]) -> list[Path]:
    """The folders that match the patterns, each once; a pattern with wildcards matches only folders with a sweep.

    Raises:
      UsageError: a pattern matches no folder.
    """
    folders: dict[Path, Path] = {}
    for pattern in patterns:
        found = [Path(path) for path in sorted(glob(pattern)) if Path(path).is_dir()]
        if not found:
            raise UsageError(f"--workdirs: there is no folder {pattern!r}")
        if found != [Path(pattern)]:
            skipped = [path for path in found if not (path / SWEEP_FILE).exists()]
            if skipped == found:
                raise UsageError(
                    f"--workdirs: no folder {pattern!r} holds a {SWEEP_FILE}; write one with bitdiff.sweep"
                )
            if skipped:
                print(f"without a {SWEEP_FILE}, and left out: {', '.join(map(str, skipped))}", file=sys.stderr)
            found = [path for path in found if path not in skipped]
        folders |= {path.resolve(): path for path in found}
    return list(folders.values())


if __name__ == "__main__":
    define_flags()
    command.run(main)
