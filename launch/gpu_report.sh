#!/usr/bin/env bash
# Measures training and sampling on one GPU in about ten minutes, without network access once .venv exists:
#   bash launch/gpu_report.sh --out gpu.json
# Uses the current Python if its jax finds a GPU (with --trial, if it has jax), and otherwise .venv; creating .venv
# requires network access. Arguments are passed to launch/gpu_report.py. Of several GPUs, only the first is used.
set -euo pipefail
caller="$PWD"
root="$(cd "$(dirname "$0")/.." && pwd)"
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES:-0}"
export CUDA_VISIBLE_DEVICES="${CUDA_VISIBLE_DEVICES%%,*}"
backend=gpu
EXTRA=cuda
if [[ " $* " == *" --trial "* ]]; then
  backend=
  EXTRA=
fi
if ! python -c "import jax, flax, optax, orbax.checkpoint; assert jax.default_backend().startswith('$backend')" 2>/dev/null
then
  source "$root/launch/environment.sh"
fi
cd "$caller" # relative paths in the arguments are the caller's
# So that PyTorch can run on the same GPU.
export XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
exec python "$root/launch/gpu_report.py" "$@"
