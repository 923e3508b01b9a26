#!/usr/bin/env bash
# Measures training and sampling on one GPU in less than ten minutes, without network access once .venv exists:
#   bash launch/gpu_report.sh --out gpu.json
# Uses the current Python if its jax finds a GPU, and otherwise .venv; creating .venv requires network access.
# Arguments are passed to launch/gpu_report.py.
set -euo pipefail
if ! python -c 'import jax, flax, optax, orbax.checkpoint; assert jax.default_backend() == "gpu"' 2>/dev/null; then
  EXTRA=cuda
  source "$(dirname "$0")/environment.sh"
fi
cd "$(dirname "$0")/.."
# So that PyTorch can run on the same GPU.
export XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec python launch/gpu_report.py "$@"
