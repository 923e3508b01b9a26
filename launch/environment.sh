# shellcheck shell=bash
# Sourced by the other scripts: creates .venv at the top of the checkout from requirements.lock, or reuses it,
# and puts it first on PATH. PYTHON is the interpreter that creates it (default: python3); EXTRA is the accelerator
# that jax is installed for in addition to the CPU: cuda or tpu. Also sets GLIBC_TUNABLES.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

python="${PYTHON:-python3}"
wanted="${EXTRA:-} $(cat requirements.lock setup.py | cksum)"
if [ "$(cat .venv/bitdiff-lock 2>/dev/null)" != "$wanted" ]; then
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: '$python' is not Python 3.11 or newer; set PYTHON to one that is" >&2
    exit 2
  fi
  echo "Creating .venv with $("$python" --version) ..."
  "$python" -m venv --clear .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
  if [ -n "${EXTRA:-}" ]; then
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "jax[${EXTRA/cuda/cuda12}]==$(
      sed -n 's/^jax==//p' requirements.lock
    )"
  fi
  echo "$wanted" >.venv/bitdiff-lock
fi
export PATH="$PWD/.venv/bin:$PATH"
# Requests huge pages from Linux: each training step on the CPU allocates fresh memory, and small pages cost up to a
# quarter of its time.
export GLIBC_TUNABLES="glibc.malloc.hugetlb=1${GLIBC_TUNABLES:+:$GLIBC_TUNABLES}"
