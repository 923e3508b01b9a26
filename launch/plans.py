#!/usr/bin/env python3
"""Plans training of the published configs on TPU slices, without TPUs: python launch/plans.py --out runs/plans.

Needs libtpu (pip install libtpu). Each program takes minutes to compile; rerun the same command to resume. Writes
plans.json to --results (by default, the --out folder).
"""

import argparse
import json
import os
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


def plan(name: str, topology: str, out: Path) -> dict:
    """The numbers of a training step, read from its report, which is first created if it does not exist."""
    path = out / f"{name}_{topology}.json".replace(":", "_")
    sections = DTYPES.get(name.split(":")[0], ("network",))
    dtypes = [f"--config.{section}.dtype=bfloat16" for section in sections]
    arguments = ["--config", name, "--topology", topology, "--parts", "training", "--out", str(path), *dtypes]
    subprocess.run([sys.executable, "-m", "bitdiff.plan", *arguments], cwd=ROOT, check=True)
    (numbers,) = json.loads(path.read_text())["parts"].values()
    return numbers


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Plans training of the published configs on TPU slices, without TPUs.")
    parser.add_argument("--out", type=Path, default=Path("runs/plans"), help="folder of the plans")
    parser.add_argument("--results", type=Path, help="folder of plans.json; defaults to --out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, topologies in ROWS.items():
        for topology in topologies:
            numbers = plan(name, topology, options.out.resolve())
            if "error" in numbers:
                sys.exit(f"{name} does not compile for {topology}: {numbers['error']}")
            scores = {title: [float(f"{numbers[key] * factor:.3g}")] for title, (key, factor) in NUMBERS.items()}
            rows.append({"name": name, "slice": topology, "binds": numbers["binds"], "scores": scores})
    report = {
        "about": "One training step with the paper's global batch in bfloat16, compiled for TPU slices. Per device: "
        "memory in use, HBM traffic, and lower bounds on the time of the matrix products at the chip's peak, of the "
        "HBM traffic, and of the traffic to other chips. Days: the largest of these bounds, multiplied by the paper's "
        "number of steps; also a lower bound.",
        "command": "python launch/plans.py",
        "commit": current_commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": os.environ.get("HARDWARE", "compiled on a CPU, not run"),
        "versions": versions(),
        "seeds": [],
        "rows": rows,
    }
    path = (options.results or options.out) / "plans.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
