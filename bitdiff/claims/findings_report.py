"""The report of findings: findings.json, findings.md, and a plot for each claim."""

import json
import zlib
from collections.abc import Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bitdiff.claims.claim import Claim, Model, training_of
from bitdiff.claims.measure_claim import Measured
from bitdiff.claims.verdicts import HOLDS, LEAST_SEEDS, RULE, combine, decide
from bitdiff.figures import plots
from bitdiff.runtime import files
from bitdiff.runtime.console import counted
from bitdiff.runtime.devices import describe_devices
from bitdiff.runtime.version import __version__

_ABOUT = (
    "Claims of two papers, and some of our own, checked with models small enough to train on a laptop. `python -m "
    "bitdiff.findings` trains the models, measures them and writes this report. References are to figures, tables "
    "and sections of Analog Bits (Chen, Zhang and Hinton 2023), unless they name DisCo-Diff (Xu et al. 2024) or "
    "another paper. The Frechet distance is biased upward for small sets of images. Samples are therefore split into "
    "sets no larger than the test set, and their distances averaged; the distance of real test data is that of as many "
    "test images. Findings from different machines use separately trained judges and models, so scores are comparable "
    "only within a table. Most claims about images require the files of Fashion-MNIST (`--fashion FOLDER`)."
)


class Minutes(NamedTuple):
    """How long a claim took.

    training: minutes spent training each run, by the run's name, including runs first trained for another claim.
    jobs: number of runs trained at a time.
    measuring: minutes spent on points that were not yet measured, for this claim or another.
    """

    training: Mapping[str, float]
    jobs: int
    measuring: float


def finding(
    claim: Claim, measured: Measured, seeds: Sequence[int], minutes: Minutes, commit: str = "unknown"
) -> dict[str, Any]:
    """What was found about a claim, as plain JSON: evidence with verdicts, and the scores of every point.

    Args:
      claim: the claim.
      measured: what was measured.
      seeds: the seeds.
      minutes: how long it took.
      commit: that of the code that measured it.
    """
    values = measured.values
    evidence = {name: decide(weigh(values)) for name, weigh in claim.evidence.items()}
    return {
        "statement": claim.statement,
        "paper": claim.paper,
        "score": claim.score.title,
        "x_label": claim.x_label,
        "verdict": combine(list(evidence.values())),
        "evidence": {name: verdict._asdict() for name, verdict in evidence.items()},
        "points": [{"line": line, "x": x, "values": np.asarray(array).tolist()} for (line, x), array in values.items()],
        "real": measured.real,
        "real_title": claim.score.reference_title,
        "num_samples": claim.num_samples,
        "scale": claim.scale,
        "bounds": measured.bounds,
        "training": measured.training,
        "setup": _setup(claim),
        "seeds": list(seeds),
        "provenance": {
            "bitdiff": __version__,
            "commit": commit,
            "judges": measured.judges if claim.score.name.startswith("judge_") else [],
            "jax": f"{jax.__version__} on {describe_devices()}",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "minutes": minutes._asdict(),
        },
    }


def is_current(claim: Claim, models: Mapping[str, Model], one: Mapping[str, Any]) -> bool:
    """Whether a finding matches the current claim and the current training of its models."""
    facts = (claim.statement, list(claim.evidence), _setup(claim), training_of(claim.models, models))
    return facts == (one["statement"], list(one["evidence"]), one.get("setup"), one.get("training"))


def _setup(claim: Claim) -> dict[str, Any]:
    """What a claim measures, as plain JSON."""
    points = [[*point[:3], sorted(point.options.items()), point.step] for point in claim.points]
    return json.loads(json.dumps({"score": claim.score.name, "points": points, "num_samples": claim.num_samples}))


def write(folder: Path, found: Mapping[str, dict[str, Any]]) -> list[Path]:
    """Writes the report of all findings so far, by the claim's name; returns the paths of the files."""
    written = [folder / "findings.json", folder / "findings.md"]
    files.write_text(written[0], json.dumps(found, indent=1) + "\n")
    for name, one in found.items():
        written.append(folder / f"{name}.png")
        plot(written[-1], one)
    files.write_text(written[1], markdown(found))
    return written


def plot(path: Path, one: dict[str, Any]) -> None:
    """Plots the scores of a finding."""
    lines: dict[str, dict[float, list[float]]] = {}
    for point in one["points"]:
        lines.setdefault(point["line"], {})[point["x"]] = point["values"]
    known = {} if one["real"] is None else {_reference(one): one["real"]}
    plots.error_bars(path, lines, x_label=one["x_label"], y_label=one["score"], levels=known)


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The findings in a folder, by the claim's name; {} if there are none."""
    path = folder / "findings.json"
    return json.loads(path.read_text()) if path.exists() else {}


def markdown(
    found: Mapping[str, dict[str, Any]],
    pictures: str = "",
    remarks: Mapping[str, Mapping[str, str]] | None = None,
    not_run: Iterable[str] = (),
    outdated: Container[str] = (),
) -> str:
    """The report as text: a table of verdicts, then a section for each claim.

    Args:
      found: the findings by the claim's name.
      pictures: a prefix of the plots' paths.
      remarks: for each claim's name, a 'text', and the 'checksum' of the finding it was written for; it is shown
        only with that finding.
      not_run: the statements of claims that have not been checked.
      outdated: the names of claims that, or whose models, may have changed since they were checked.
    """
    lines = ["# Findings", "", _ABOUT, "", RULE, *_total(found), "", "| claim | verdict |", "| --- | --- |"]
    lines += [
        f"| {one['statement']} | {one['verdict']}{' (earlier version)' if name in outdated else ''} |"
        for name, one in found.items()
    ]
    lines += [f"| {statement} | not yet run |" for statement in not_run]
    for name, one in found.items():
        remark = (remarks or {}).get(name, {})
        about = f" {remark['text']}" if remark.get("checksum") == checksum(one) else ""
        lines += ["", f"## {one['statement']}", ""]
        lines += [f"**{one['verdict'].capitalize()}.**{about} Reference: {one['paper']}", ""]
        lines += [f"![{one['score']}]({pictures}{name}.png)", "", *_scores(one), ""]
        lines += ["| comparison | mean | standard error | verdict |", "| --- | --- | --- | --- |"]
        for what, fact in one["evidence"].items():
            error = "" if fact["error"] is None else f"{fact['error']:.2g}"
            lines.append(f"| {what} | {fact['mean']:.3g} | {error} | {fact['verdict']} |")
        seeds = ", ".join(map(str, one["seeds"]))
        about = one["provenance"]
        real = "" if one["real"] is None else f" The score of {_reference(one)} is {one['real']:.3g}."
        lines += ["", f"Mean ± standard deviation over seeds {seeds}; {one['num_samples']:,} samples per point.{real}"]
        lines[-1] += "".join(_bound(line, facts) for line, facts in one.get("bounds", {}).items())
        lines[-1] += "".join(_judge(facts) for facts in about["judges"])
        if "hardware" in about:  # it was published
            lines[-1] += (
                f" `python -m bitdiff.findings {name} --seeds {seeds.replace(' ', '')} "
                f"--workdir runs/findings`; commit {about['commit']}, "
                f"{about['date'][:10]}; {about['hardware']}; jax {about['jax'].split()[0]}."
            )
        lines[-1] += _duration(about["minutes"]) if "minutes" in about else ""
        if name in outdated:
            lines[-1] += " The claim, or the training of its models, may have changed since then."
        if len(one["seeds"]) < LEAST_SEEDS:
            lines += [f"A verdict requires at least {LEAST_SEEDS} seeds."]
        elif one["verdict"] != HOLDS:
            lines += [f"A stronger test would {one['scale']}"]
    return "\n".join(lines) + "\n"


def checksum(one: Mapping[str, Any]) -> str:
    """A checksum of a finding's statement, evidence and scores."""
    facts = [one["statement"], one["evidence"], one["points"], one["real"]]
    return f"{zlib.crc32(json.dumps(facts).encode()):08x}"


def _reference(one: Mapping[str, Any]) -> str:
    return one.get("real_title", "real test data")


def _bound(line: str, facts: Mapping[str, Any]) -> str:
    return f" {line[0].upper()}{line[1:]}: {facts['about']}, {_mean(facts['values'])}."


def _duration(minutes: Mapping[str, Any]) -> str:
    runs, jobs = minutes["training"], min(minutes["jobs"], len(minutes["training"]))
    at_once = f", {jobs} at a time" if jobs > 1 else ""
    return (
        f" Training took about {sum(runs.values()) / jobs:.0f} minutes ({counted(len(runs), 'model')}{at_once}, "
        f"including models that other claims use), and measuring took {minutes['measuring']:.0f}."
    )


def _total(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The time that all claims took together, as a paragraph; nothing if it is not known for each."""
    times = [one["provenance"].get("minutes") for one in found.values()]
    if not times or None in times:
        return []
    training = {run: minutes / time["jobs"] for time in times for run, minutes in time["training"].items()}
    hours = sum(training.values()) / 60, sum(time["measuring"] for time in times) / 60
    models = counted(len(training), "model")
    return [
        "",
        f"In total, training took about {hours[0]:.1f} hours ({models}), and measuring took {hours[1]:.1f} hours.",
    ]


def _scores(one: dict[str, Any]) -> list[str]:
    """The scores as a table: a row for each line of the plot, a column for each x."""
    places = sorted({point["x"] for point in one["points"]})
    cells: dict[str, dict[float, str]] = {}
    for point in one["points"]:
        cells.setdefault(point["line"], {})[point["x"]] = _mean(point["values"])
    score = one["score"][0].upper() + one["score"][1:]
    head = [f"{score}; {one['x_label']}:", *(f"{x:.3g}" if x < 100 else f"{x:,g}" for x in places)]
    rows = [[name, *(found.get(x, "") for x in places)] for name, found in cells.items()]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def _mean(values: Sequence[float]) -> str:
    spread = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{spread}"


def _judge(facts: Mapping[str, Any]) -> str:
    return (
        f" The judge is a classifier trained for {facts['epochs']} epochs, with a test accuracy of "
        f"{facts['test_accuracy']:.1%} (sha256 {facts['sha256'][:8]}; data: {facts['data']})."
    )
