#!/usr/bin/env python3
"""Plans training of the published configs on TPU slices, without TPUs: python launch/plans.py --out runs/plans.

Needs libtpu (pip install libtpu). Each program takes minutes to compile; rerun the same command to resume. Writes
plans.json to --results (by default, the --out folder).
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from study import ROOT, current_commit, versions

ROWS = {  # published configs, with slices that have enough memory for the paper's global batch
    "cifar10:uint_cond": ("v5e:2x2", "v4:2x2x1"),
    "cifar10:one_hot_softmax": ("v5e:2x2", "v4:2x2x1"),
    "imagenet64:uint_cond": ("v5e:4x4", "v4:2x2x4"),
    "imagenet64_disco:disco": ("v5e:4x4", "v4:2x2x4"),
    "coco:bits": ("v5e:4x4", "v4:2x2x4"),
    "coco:autoregressive": ("v5e:4x4", "v4:2x2x4"),
    "lm1b:cobit": ("v5e:4x4", "v4:2x2x4"),
}
DTYPES = {  # the networks of a config that compute in bfloat16
    "coco": ("network", "encoder"),
    "imagenet64_disco": ("network", "latents.encoder", "latents.embed"),
}
CHANGES = {  # 256 examples per device are processed in eight parts
    "imagenet64_disco:disco": ["--config.train.accumulate=8"],
}
NUMBERS = {  # the numbers of a plan, by their title in the table
    "examples per device": ("rows_per_device", 1.0),
    "memory, GiB": ("memory_bytes", 2.0**-30),
    "model TFLOP": ("model_flops", 1e-12),
    "HBM traffic, GB": ("hbm_bytes", 1e-9),
    "compute, ms": ("compute_seconds", 1e3),
    "HBM, ms": ("memory_seconds", 1e3),
    "ICI, ms": ("interconnect_seconds", 1e3),
    "days": ("days", 1.0),
}


def plan(name: str, topology: str, out: Path) -> None:
    """Writes the report of a training step, unless it exists."""
    sections = DTYPES.get(name.split(":")[0], ("network",))
    changes = [f"--config.{section}.dtype=bfloat16" for section in sections] + CHANGES.get(name, [])
    arguments = ["--config", name, "--topology", topology, "--parts", "training", "--out", str(out), *changes]
    subprocess.run([sys.executable, "-m", "bitdiff.plan", *arguments], cwd=ROOT, check=True)


def row(name: str, topology: str, report: Path, published: list[dict]) -> dict:
    """A row of the table: from the report, or else as published before, or else not yet run."""
    if report.exists():
        (numbers,) = json.loads(report.read_text())["parts"].values()
        if "error" in numbers:
            return {"name": name, "slice": topology, "binds": "does not fit", "scores": {}}
        scores = {title: [float(f"{numbers[key] * factor:.3g}")] for title, (key, factor) in NUMBERS.items()}
        return {"name": name, "slice": topology, "binds": numbers["binds"], "scores": scores}
    for before in published:
        if (before["name"], before["slice"]) == (name, topology):
            return before
    return {"name": name, "slice": topology, "binds": "", "scores": {title: [] for title in NUMBERS}}


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Plans training of the published configs on TPU slices, without TPUs.")
    parser.add_argument("--out", type=Path, default=Path("runs/plans"), help="folder of the plans")
    parser.add_argument("--only", default=",".join(ROWS), help="configs to plan, separated by commas")
    parser.add_argument("--results", type=Path, help="folder of plans.json; defaults to --out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(","):
        if name not in ROWS:
            sys.exit(f"unknown config {name!r}; the configs are: {', '.join(ROWS)}")
        for topology in ROWS[name]:
            plan(name, topology, report_of(options.out, name, topology))
            collect(options.out, options.results or options.out)


def report_of(out: Path, name: str, topology: str) -> Path:
    """The file of a plan."""
    return out.resolve() / f"{name}_{topology}.json".replace(":", "_")


def collect(out: Path, results: Path) -> None:
    """Writes plans.json from all reports so far; rows without one are kept from an existing plans.json."""
    path = results / "plans.json"
    published = json.loads(path.read_text())["rows"] if path.exists() else []
    report = {
        "about": "One training step with the paper's global batch in bfloat16, compiled for TPU slices. Per device: "
        "memory in use, HBM traffic, and lower bounds on the time of the matrix products at the chip's peak, of the "
        "HBM traffic, and of the traffic to other chips. Days: the largest of these bounds, multiplied by the paper's "
        "number of steps; also a lower bound.",
        "command": "python launch/plans.py",
        "commit": current_commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": "compiled for TPUs on a CPU, not run",
        "versions": versions(),
        "seeds": [],
        "rows": [
            row(name, topology, report_of(out, name, topology), published)
            for name, topologies in ROWS.items()
            for topology in topologies
        ],
    }
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
