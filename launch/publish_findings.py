#!/usr/bin/env python3
"""Publishes the findings of a folder: python launch/publish_findings.py --workdir runs/findings.

Adds them to configs/results/findings/findings.json, with the current commit and the environment variable HARDWARE,
draws their plots beside it, and writes configs/FINDINGS.md. Findings about other claims are kept.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import tables
from study import ROOT, current_commit

from bitdiff.claims import findings_report

RESULTS = ROOT / "configs" / "results" / "findings"


def publish(workdir: Path, results: Path) -> list[str]:
    """Merges the findings in a workdir into a folder, and draws their plots; returns the names of the claims."""
    found = findings_report.read(workdir)
    if not found:
        sys.exit(f"{workdir} holds no findings.json; write one with python -m bitdiff.findings --workdir {workdir}")
    for one in found.values():
        one["provenance"] |= {"commit": current_commit(), "hardware": os.environ.get("HARDWARE", "CPU")}
    results.mkdir(parents=True, exist_ok=True)
    everything = findings_report.read(results) | found
    (results / "findings.json").write_text(json.dumps(everything, indent=1) + "\n")
    for name, one in found.items():
        findings_report.plot(results / f"{name}.png", one)
    return list(found)


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Publishes the findings of a folder.")
    parser.add_argument("--workdir", type=Path, default=Path("runs/findings"), help="folder of the findings")
    options = parser.parse_args()
    names = publish(options.workdir, RESULTS)
    tables.write_findings(check=False)
    print(f"published {', '.join(names)}")


if __name__ == "__main__":
    main()
