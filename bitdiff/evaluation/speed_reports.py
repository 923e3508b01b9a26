"""Reports of bitdiff.benchmark and bitdiff.plan: reading them, and comparing two as ratios."""

import json
from pathlib import Path
from typing import Any

from bitdiff.runtime.console import table
from bitdiff.runtime.errors import UsageError
from bitdiff.training import workdir


def compare(paths: list[str]) -> str:
    """A table of the ratios of two reports, the value of --compare.

    Raises:
      UsageError: there are not two paths, or a file is not a report.
    """
    if len(paths) != 2:
        raise UsageError(f"--compare is {','.join(paths)}; it must be two files, before.json,after.json")
    before, after = (read_report(Path(path)) for path in paths)
    return table([(name, f"x {ratio:.3g}") for name, ratio in ratios(before, after).items()])


def ratios(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """after / before for every number in both reports, by 'part.name'."""
    first, second = (
        {name: value for name, value in workdir.flatten(report["parts"]).items() if not isinstance(value, str)}
        for report in (before, after)
    )
    return {name: second[name] / value for name, value in first.items() if value and name in second}


def read_report(path: Path) -> dict[str, Any]:
    """A report written by bitdiff.benchmark or bitdiff.plan.

    Raises:
      UsageError: the file cannot be read, or is not a report.
    """
    try:
        report = json.loads(path.read_text())
        workdir.flatten(report["parts"])
        return report
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a report of bitdiff.benchmark or bitdiff.plan ({error})") from error
