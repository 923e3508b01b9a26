#!/usr/bin/env python3
"""Measures how td sharpens a distribution, with the exact denoiser of one bit: python launch/td_oracle.py.

Writes configs/results/td_oracle.json and its figure, td_oracle.png.
"""

import json
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import flax
import jax
import jax.numpy as jnp

from bitdiff.diffusion import oracle, sampling, schedules
from bitdiff.figures import plots

FOLDER = Path(__file__).resolve().parent.parent / "configs" / "results"
PROBABILITY = 0.8  # that the bit is +1
SAMPLES = 50_000
STEPS = (10, 50, 200)
TDS = (0.0, 0.5, 1.0, 2.0, 5.0)
SAMPLERS = ("ddim", "ddpm")


def fraction(sampler: str, steps: int, td: float, seed: int) -> float:
    """The fraction of samples that are +1."""
    denoise = oracle.bayes_denoiser([[-1.0], [1.0]], [1.0 - PROBABILITY, PROBABILITY])

    @jax.jit
    def sample(key) -> jax.Array:
        options = {"gamma": schedules.cosine(), "steps": steps, "td": td, "sampler": sampler, "self_cond": False}
        return jnp.mean(sampling.sample(denoise, key, (SAMPLES, 1), **options) > 0)

    return float(sample(jax.random.key(seed)))


def main() -> None:
    """Runs the script."""
    seeds = [0, 1, 2]
    rows = []
    for sampler in SAMPLERS:
        for steps in STEPS:
            for td in TDS:
                scores = {"fraction of +1": [round(fraction(sampler, steps, td, seed), 4) for seed in seeds]}
                rows.append({"sampler": sampler, "steps": steps, "td": td, "scores": scores})
                print(rows[-1], flush=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
    result = {
        "about": f"Samples of one bit that is +1 with probability {PROBABILITY}, with its exact denoiser; {SAMPLES:,} "
        "samples per seed, the cosine schedule. The standard error of a fraction is 0.002.",
        "command": "python launch/td_oracle.py",
        "commit": commit.strip(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": f"{jax.devices()[0].device_kind}; the numbers do not depend on it",
        "versions": {"jax": jax.__version__, "flax": flax.__version__},
        "seeds": seeds,
        "rows": rows,
    }
    (FOLDER / "td_oracle.json").write_text(json.dumps(result, indent=1) + "\n")
    lines: dict[str, dict[float, float]] = {}
    for row in rows:
        values = row["scores"]["fraction of +1"]
        lines.setdefault(f"{row['sampler']}, {row['steps']} steps", {})[row["td"]] = sum(values) / len(values)
    plots.curves(FOLDER / "td_oracle.png", lines, x_label="td, in steps", y_label="fraction of +1 (truth: 0.8)")


if __name__ == "__main__":
    main()
