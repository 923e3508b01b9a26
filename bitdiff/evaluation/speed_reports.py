"""Reports of bitdiff.benchmark: reading them, and comparing two as ratios."""

import json
from pathlib import Path
from typing import Any

from bitdiff.runtime.errors import UsageError
from bitdiff.training import workdir


def ratios(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """after / before for every number in both reports, by 'part.name'."""
    first, second = (
        {name: value for name, value in workdir.flatten(report["parts"]).items() if not isinstance(value, str)}
        for report in (before, after)
    )
    return {name: second[name] / value for name, value in first.items() if value and name in second}


def read_report(path: Path) -> dict[str, Any]:
    """A report written by bitdiff.benchmark.

    Raises:
      UsageError: the file cannot be read, or is not a report.
    """
    try:
        report = json.loads(path.read_text())
        workdir.flatten(report["parts"])
        return report
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is not a report of bitdiff.benchmark ({error})") from error
