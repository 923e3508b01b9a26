#!/usr/bin/env bash
# One machine with several GPUs: a single process uses them all. Arguments are passed to bitdiff.train.
#   bash launch/multi_gpu.sh --config configs/cifar10.py:uint_cond --workdir runs/cifar10
set -euo pipefail
EXTRA=cuda
source "$(dirname "$0")/environment.sh"

python -m bitdiff.train --platform gpu "$@"
