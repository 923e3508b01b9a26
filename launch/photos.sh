#!/usr/bin/env bash
# Reproduces the results for photograph crops: trains five models with three seeds each, sweeps samplers, and compares.
# It takes hours; after an interruption the same command resumes. SEEDS="0" runs one seed.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

declare -A models=(
  [uint]="uint"
  [eps]="uint --config.diffusion.prediction=eps"
  [plain]="uint --config.diffusion.self_cond_rate=0"
  [gray]="gray"
  [uint_rand]="uint_rand"
)
for seed in ${SEEDS:-0 1 2}; do
  for model in uint eps plain gray uint_rand; do
    read -r variant options <<<"${models[$model]}"
    workdir="runs/photos/${model}_$seed"
    # shellcheck disable=SC2086  # the options must be split into words
    python -m bitdiff.train --config "configs/photos.py:$variant" $options --config.seed="$seed" --workdir "$workdir"
    sweep() { python -m bitdiff.sweep --workdir "$workdir" --num_samples 500 "$@"; }
    sweep --steps 5,10,20 --td 0,1
    sweep --steps 50
    sweep --steps 20 --sampler ddpm
  done
done
python -m bitdiff.compare --workdirs 'runs/photos/*_*' --score swd,frechet_pixels --out runs/photos/tables.md
