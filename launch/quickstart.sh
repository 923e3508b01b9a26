#!/usr/bin/env bash
# Trains Bit Diffusion from scratch on scikit-learn's digits, samples, and evaluates.
# Everything is written to runs/quickstart; the same command resumes where it stopped.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

workdir=runs/quickstart
python -m bitdiff.train --config configs/digits.py --workdir "$workdir"
python -m bitdiff.sample --workdir "$workdir" --num_samples 100 --out "$workdir/digits.npz"
python -m bitdiff.evaluate --workdir "$workdir"
echo "Look at $workdir/digits.png: one column per class, 0 to 9."
