#!/usr/bin/env python3
"""Writes the result tables of the documents from configs/results/*.json.

    python launch/tables.py           # rewrites every table, and the lists of configuration fields
    python launch/tables.py --check   # exits with code 1 if a table differs from its results

A table is placed between two comments in a Markdown file:

    <!-- table: photos; rows: name; columns: steps, td; scores: swd -->
    <!-- end of table -->

`rows` are the fields that name a row, `columns` the fields whose values become columns (without them, every score is a
column), `scores` the scores to show (by default all), and `only` selects rows, as in `only: steps=5|10`. Cells hold the
mean over seeds, with the standard deviation if there are several.
"""

import argparse
import json
import re
import statistics
import sys
from pathlib import Path
from typing import Any

from bitdiff.claims import findings_report
from bitdiff.claims.catalog import CLAIMS
from bitdiff.claims.claim_models import MODELS
from bitdiff.configuration import base, sections

ROOT = Path(__file__).resolve().parent.parent
FINDINGS = ROOT / "configs" / "results" / "findings"
DOCUMENTS = (
    "README.md",
    "bitdiff/README.md",
    "configs/README.md",
    "configs/fields.md",
    "launch/README.md",
    "tests/README.md",
)
_FIELDS = re.compile(r"(<!-- fields: (?P<spec>.*?) -->\n).*?(<!-- end of fields -->)", re.DOTALL)
_COMMA = {False: r",", True: r",(?=\s*\w+=)"}  # in `only`, a comma ends a condition only before FIELD=
_TABLE = re.compile(r"(<!-- table: (?P<spec>.*?) -->\n).*?(<!-- end of table -->)", re.DOTALL)


def read(name: str) -> dict[str, Any]:
    """The results with that name."""
    return json.loads((ROOT / "configs" / "results" / f"{name}.json").read_text())


def cell(row: dict[str, Any], score: str) -> str:
    """A score of a row: one number, mean and standard deviation over seeds, or 'not yet run'."""
    summary = row.get("summaries", {}).get(score)
    if summary is not None:
        return _number(summary["mean"]) + (f" ± {summary['std']:.2g}" if "std" in summary else "")
    values = row["scores"].get(score)
    if values is None:
        return ""
    if not values:
        return "not yet run"
    if len(values) == 1:
        return _number(values[0])
    return f"{_number(statistics.mean(values))} ± {_number(statistics.stdev(values), digits=1)}"


def _number(value: float, *, digits: int = 3) -> str:
    """A number with that many significant digits, without an exponent if it is large."""
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if abs(rounded) >= 10 ** min(digits, 2) else f"{value:.{digits}g}"


def table(spec: str) -> str:
    """A Markdown table with the provenance of its numbers below."""
    name, *parts = [part.strip() for part in spec.split(";")]
    pairs = ((key.strip(), value) for key, value in (part.split(":", 1) for part in parts))
    options = {key: [v.strip() for v in re.split(_COMMA[key == "only"], value)] for key, value in pairs}
    results = read(name)
    rows = _selected(results["rows"], options.get("only", []))
    found = [*(s for row in rows for s in row.get("summaries", {})), *(s for row in rows for s in row["scores"])]
    scores = [s.strip() for s in "".join(p.split(":", 1)[1] for p in parts if p.startswith("scores:")).split("|") if s]
    scores = scores or list(dict.fromkeys(found))
    fields = options.get("rows", ["name"])
    columns = options.get("columns", [])
    lines = _pivot(rows, fields, columns, scores) if columns else _plain(rows, fields, scores)
    text = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return f"{text}\n{_provenance(results)}\n"


def _selected(rows: list[dict[str, Any]], conditions: list[str]) -> list[dict[str, Any]]:
    wanted = [condition.split("=", 1) for condition in conditions]
    return [row for row in rows if all(f"{row[field]}" in values.split("|") for field, values in wanted)]


def _plain(rows: list[dict[str, Any]], fields: list[str], scores: list[str]) -> list[list[str]]:
    lines = [[*("" if field == "name" else field for field in fields), *scores], ["---"] * (len(fields) + len(scores))]
    for row in rows:
        lines.append([f"{row.get(field, '')}" for field in fields] + [cell(row, score) for score in scores])
    return lines


def _pivot(rows: list[dict[str, Any]], fields: list[str], columns: list[str], scores: list[str]) -> list[list[str]]:
    heads = list(dict.fromkeys(tuple(row[c] for c in columns) for row in rows))
    names = list(dict.fromkeys(tuple(row[f] for f in fields) for row in rows))
    titles = [
        ", ".join(f"{v}" if isinstance(v, str) else f"{c} {v}" for c, v in zip(columns, h, strict=True)) for h in heads
    ]
    lines = [[*("" if field == "name" else field for field in fields), *titles]]
    lines.append(["---"] * len(lines[0]))
    for name in names:
        line = [f"{value}" for value in name]
        for head in heads:
            same = [r for r in rows if tuple(r[f] for f in fields) == name and tuple(r[c] for c in columns) == head]
            line.append(", ".join(cell(same[0], score) for score in scores) if same else "")
        lines.append(line)
    return lines


def _provenance(results: dict[str, Any]) -> str:
    if not results["commit"]:
        return f"{results['about']} `{results['command']}`; not yet run."
    plural = "s" if len(results["seeds"]) > 1 else ""
    seeds = f"seed{plural} {', '.join(map(str, results['seeds']))}; " if results["seeds"] else ""
    return (
        f"{results['about']} `{results['command']}`; {seeds}commit {results['commit']}, {results['date']}; "
        f"{results['hardware']}; jax {results['versions']['jax']}."
    )


def fields(spec: str) -> str:
    """A Markdown table of the fields of a section, e.g. 'data: DATA', from the table of that name."""
    section, _, name = (part.strip() for part in spec.partition(":"))
    rows = getattr(base, name, None) or getattr(sections, name)
    prefix = f"{section}." if section else ""
    lines = ["| field | default | value | about |", "| --- | --- | --- | --- |"]
    for field, entry in rows.items():
        cells = (f"`{prefix}{field}`", f"`{entry.default!r}`", entry.valid, entry.about)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def rewrite(text: str) -> str:
    """A document with all its tables written from the results, and its lists of fields from the configuration."""
    text = _FIELDS.sub(lambda match: match[1] + fields(match["spec"]) + match[3], text)
    return _TABLE.sub(lambda match: match[1] + table(match["spec"]) + match[3], text)


def stale_remarks() -> dict[str, str]:
    """The claims whose remarks were written for other results, each with the checksum of its current finding."""
    found, remarks = findings_report.read(FINDINGS), _remarks()
    checksums = {name: findings_report.checksum(one) for name, one in found.items() if name in remarks}
    return {name: checksum for name, checksum in checksums.items() if remarks[name]["checksum"] != checksum}


def write_findings(*, check: bool) -> bool:
    """Writes configs/FINDINGS.md from the results, or with `check` only compares them; returns whether they differ."""
    path = ROOT / "configs" / "FINDINGS.md"
    found = findings_report.read(FINDINGS)
    not_run = [claim.statement for name, claim in CLAIMS.items() if name not in found]
    outdated = [
        name for name in found if name in CLAIMS and not findings_report.is_current(CLAIMS[name], MODELS, found[name])
    ]
    text = findings_report.markdown(found, "results/findings/", _remarks(), not_run, outdated) if found else None
    differs = text != (path.read_text() if path.exists() else None)
    if differs and text is not None and not check:
        path.write_text(text)
    return differs


def _remarks() -> dict[str, dict[str, str]]:
    path = FINDINGS / "remarks.json"
    return json.loads(path.read_text()) if path.exists() else {}


def main() -> int:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Writes the result tables of the documents.")
    parser.add_argument("--check", action="store_true", help="only report tables that differ")
    check = parser.parse_args().check
    code = 0
    for name in DOCUMENTS:
        path = ROOT / name
        before = path.read_text()
        after = rewrite(before)
        if before != after and check:
            print(f"{name}: a table differs from configs/results; run python launch/tables.py", file=sys.stderr)
            code = 1
        elif before != after:
            path.write_text(after)
            print(f"wrote the tables of {name}")
    if write_findings(check=check):
        print("configs/FINDINGS.md: " + ("differs from configs/results" if check else "written"), file=sys.stderr)
        code = max(code, int(check))
    for name, checksum in stale_remarks().items():
        print(
            f"remarks.json: the remark on {name} was written for other results; revise it, and set its checksum to "
            f"{checksum!r}",
            file=sys.stderr,
        )
        code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
