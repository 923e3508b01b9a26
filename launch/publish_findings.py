#!/usr/bin/env python3
"""Publishes the findings of a folder: python launch/publish_findings.py --workdir runs/findings.

Adds them to configs/results/findings/findings.json, with the environment variable HARDWARE,
draws their plots beside it, and writes configs/FINDINGS.md. Findings about other claims are kept.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import tables
from study import ROOT, machine

from bitdiff.claims import findings_report
from bitdiff.claims.catalog import CLAIMS

RESULTS = ROOT / "configs" / "results" / "findings"


def publish(workdir: Path, results: Path) -> list[str]:
    """Merges the findings in a workdir into a folder, and draws their plots; returns the claims that changed."""
    found = findings_report.read(workdir)
    if not found:
        sys.exit(f"{workdir} holds no findings.json; write one with python -m bitdiff.findings --workdir {workdir}")
    published = findings_report.read(results)
    # An unchanged finding keeps its provenance.
    found = {name: one for name, one in found.items() if _plain(one) != _plain(published.get(name, {}))}
    for name, one in found.items():
        before = published[name]["seeds"] if name in published else []
        if len(one["seeds"]) < len(before):
            sys.exit(
                f"{workdir} has {len(one['seeds'])} seeds of {name}; {len(before)} are published, and only as many can "
                f"replace them: --seeds {','.join(map(str, before))}"
            )
        one["provenance"]["hardware"] = machine()
    results.mkdir(parents=True, exist_ok=True)
    order = list(CLAIMS)
    merged = published | found
    everything = {name: merged[name] for name in sorted(merged, key=lambda n: order.index(n) if n in order else 0)}
    (results / "findings.json").write_text(json.dumps(everything, indent=1) + "\n")
    for name, one in found.items():
        findings_report.plot(results / f"{name}.png", one)
    return list(found)


def _plain(one: dict[str, Any]) -> dict[str, Any]:
    """A finding without what says when and where it was measured; the judges remain."""
    return one | {"provenance": one.get("provenance", {}).get("judges")}


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Publishes the findings of a folder.")
    parser.add_argument("--workdir", type=Path, default=Path("runs/findings"), help="folder of the findings")
    options = parser.parse_args()
    names = publish(options.workdir, RESULTS)
    tables.write_findings(check=False)
    print(f"published {', '.join(names) or 'nothing new'}")


if __name__ == "__main__":
    main()
