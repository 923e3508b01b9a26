#!/usr/bin/env bash
# From nothing to pictures: trains Bit Diffusion on scikit-learn's digits, samples, and evaluates.
# Everything lands in runs/quickstart; run again, it goes on where it stopped.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

workdir=runs/quickstart
python -m bitdiff.train --config configs/digits.py --workdir "$workdir"
python -m bitdiff.sample --workdir "$workdir" --num_samples 100 --out "$workdir/digits.npz"
python -m bitdiff.evaluate --workdir "$workdir"
echo "Look at $workdir/digits.png: one column per class, 0 to 9."
