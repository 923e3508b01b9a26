#!/usr/bin/env bash
# One machine with several GPUs: one process uses them all. Arguments go to the training.
#   bash launch/multi_gpu.sh --config configs/cifar10.py:uint_cond --workdir runs/cifar10
set -euo pipefail
source "$(dirname "$0")/environment.sh"
python -c 'import jax_cuda12_plugin' 2>/dev/null || python -c 'import jax_cuda13_plugin' 2>/dev/null ||
  python -m pip install --quiet --disable-pip-version-check --editable '.[cuda]'

python -m bitdiff.train --platform gpu "$@"
