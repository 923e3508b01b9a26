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

from study import ROOT, versions

from bitdiff.runtime.version import current_commit

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
CHANGES = {  # 256 examples per device are processed in parts that fit its memory
    ("imagenet64_disco:disco", "v5e:4x4"): ["--config.train.accumulate=16"],
    ("imagenet64_disco:disco", "v4:2x2x4"): ["--config.train.accumulate=8"],
}
SAMPLED = {"cifar10:uint_cond": ("v5e:2x2", 128), "imagenet64:uint_cond": ("v5e:4x4", 512)}  # slice, samples per batch
NUMBERS = {  # the numbers of a training step, by their title in the table
    "examples per device": ("rows_per_device", 1.0),
    "memory, GiB": ("memory_bytes", 2.0**-30),
    "of HBM, %": ("memory_fraction", 100.0),
    "model TFLOP": ("model_flops", 1e-12),
    "compiled / model FLOPs": ("flops_over_model", 1.0),
    "HBM traffic, GB": ("hbm_bytes", 1e-9),
    "compute, ms": ("compute_seconds", 1e3),
    "HBM, ms": ("memory_seconds", 1e3),
    "ICI, ms": ("interconnect_seconds", 1e3),
    "days": ("days", 1.0),
}
SAMPLING = {name: NUMBERS[name] for name in list(NUMBERS)[:-2]} | {
    "HBM traffic / a network evaluation's": ("bytes_over_evaluation", 1.0)
}
_TRAINING_ABOUT = (
    "One training step with the paper's global batch in bfloat16, compiled for TPU slices. Per device: memory in use, "
    "FLOPs (of the model; as compiled, which leaves out products with padding and those of the fused attention "
    "kernel), HBM traffic, and lower bounds on the time of the matrix products at the chip's peak, of the HBM traffic, "
    "and of the traffic to other chips. Days: the largest of these bounds, multiplied by the paper's number of steps; "
    "also a lower bound. imagenet64_disco processes the examples of a device in 16 parts on v5e and in 8 on v4 "
    "(config.train.accumulate)."
)
_SAMPLING_ABOUT = (
    "One step of the DDIM sampler in bfloat16, compiled for TPU slices; numbers per device as in the other table."
)


def plan(name: str, topology: str, out: Path, part: str = "training") -> None:
    """Writes the report of a training step or a sampler, with the commit and the date, unless it exists."""
    sections = DTYPES.get(name.split(":")[0], ("network",))
    changes = [f"--config.{section}.dtype=bfloat16" for section in sections] + CHANGES.get((name, topology), [])
    if part == "sampling":
        changes.append(f"--config.sample.batch_size={SAMPLED[name][1]}")
    path = report_of(out, name, topology, part)
    arguments = ["--config", name, "--topology", topology, "--parts", part, "--out", str(path), *changes]
    subprocess.run([sys.executable, "-m", "bitdiff.plan", *arguments], cwd=ROOT, check=True)
    report = json.loads(path.read_text())
    if "commit" not in report:
        made = {"commit": current_commit(), "date": datetime.now(UTC).isoformat(timespec="seconds")}
        path.write_text(json.dumps(report | made, indent=2) + "\n")


def row(name: str, topology: str, report: Path, published: list[dict], numbers: dict) -> dict:
    """A row of a table: from the report, unless the published row is newer, or else not yet run."""
    before = next((one for one in published if (one["name"], one["slice"]) == (name, topology)), None)
    if not report.exists():
        return before or {"name": name, "slice": topology, "binds": "", "scores": {title: [] for title in numbers}}
    content = json.loads(report.read_text())
    if before and before.get("date", "") > content["date"]:
        return before
    facts = {"name": name, "slice": topology, "commit": content["commit"], "date": content["date"]}
    (found,) = content["parts"].values()
    if "error" in found:
        return facts | {"binds": "does not fit", "scores": {}}
    scores = {title: [float(f"{found[key] * factor:.3g}")] for title, (key, factor) in numbers.items()}
    return facts | {"binds": found["binds"], "scores": scores}


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Plans the published configs on TPU slices, without TPUs.")
    parser.add_argument("--out", type=Path, default=Path("runs/plans"), help="folder of the plans")
    parser.add_argument("--only", default=",".join(ROWS), help="configs to plan, separated by commas")
    parser.add_argument("--results", type=Path, help="folder of the tables; defaults to --out")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(","):
        if name not in ROWS:
            sys.exit(f"unknown config {name!r}; the configs are: {', '.join(ROWS)}")
        for topology in ROWS[name]:
            plan(name, topology, options.out)
            collect(options.out, options.results or options.out)
        if name in SAMPLED:
            plan(name, SAMPLED[name][0], options.out, "sampling")
            collect(options.out, options.results or options.out)


def report_of(out: Path, name: str, topology: str, part: str = "training") -> Path:
    """The file of a plan."""
    suffix = "" if part == "training" else f"_{part}"
    return out.resolve() / f"{name}_{topology}{suffix}.json".replace(":", "_")


def collect(out: Path, results: Path) -> None:
    """Writes both tables from all reports so far; rows without a report, or with an older one, are kept."""
    trained = [(name, topology) for name, topologies in ROWS.items() for topology in topologies]
    sampled = [(name, topology) for name, (topology, _) in SAMPLED.items()]
    _write(out, results / "plans.json", "training", trained, NUMBERS, _TRAINING_ABOUT)
    _write(out, results / "plans_sampling.json", "sampling", sampled, SAMPLING, _SAMPLING_ABOUT)


def _write(out: Path, path: Path, part: str, names: list[tuple[str, str]], numbers: dict, about: str) -> None:
    published = json.loads(path.read_text())["rows"] if path.exists() else []
    rows = [row(name, topology, report_of(out, name, topology, part), published, numbers) for name, topology in names]
    reports = [report_of(out, name, topology, part) for name, topology in names]
    libtpu = {json.loads(report.read_text())["versions"]["libtpu"] for report in reports if report.exists()}
    before = json.loads(path.read_text())["versions"].get("libtpu", "") if path.exists() else ""
    content = {
        "about": about,
        "command": "python launch/plans.py",
        "commit": ", ".join(dict.fromkeys(one["commit"] for one in rows if "commit" in one)),
        "date": max((one["date"][:10] for one in rows if "date" in one), default=""),
        "hardware": "compiled for TPUs on a CPU, not run",
        "versions": versions() | {"libtpu": ", ".join(sorted(libtpu | {before} - {""}))},
        "seeds": [],
        "rows": rows,
    }
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
