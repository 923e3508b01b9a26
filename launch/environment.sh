# shellcheck shell=bash
# Sourced by the other scripts: creates .venv at the top of the checkout from requirements.lock, or reuses it,
# and puts it first on PATH. PYTHON is the interpreter that creates it (default: python3); EXTRA is the accelerator
# that jax is installed for in addition to the CPU: cuda or tpu. Also sets GLIBC_TUNABLES.
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit

python="${PYTHON:-python3}"
checksum="$(cat requirements.lock setup.py | cksum)"
found="$(cat .venv/bitdiff-lock 2>/dev/null || true)"
# An environment for an accelerator also works on the CPU; it is not recreated, since a job may be using it.
if [ "$found" != "${EXTRA:-} $checksum" ] && { [ -n "${EXTRA:-}" ] || [ "${found#* }" != "$checksum" ]; }; then
  if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "error: '$python' is not Python 3.11 or newer; set PYTHON to one that is" >&2
    exit 2
  fi
  echo "Creating .venv with $("$python" --version) ..."
  pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
  # Each step is checked, since a script that sources this file may run without `set -e`.
  "$python" -m venv --clear .venv || return 1
  "${pip[@]}" --requirement requirements.lock || return 1
  "${pip[@]}" --no-deps --no-build-isolation --editable . || return 1
  if [ -n "${EXTRA:-}" ]; then
    "${pip[@]}" "jax[${EXTRA/cuda/cuda12}]==$(sed -n 's/^jax==//p' requirements.lock)" || return 1
  fi
  echo "${EXTRA:-} $checksum" >.venv/bitdiff-lock
fi
export PATH="$PWD/.venv/bin:$PATH"
# Requests huge pages from Linux: each training step on the CPU allocates fresh memory, and small pages cost up to a
# quarter of its time.
export GLIBC_TUNABLES="glibc.malloc.hugetlb=1${GLIBC_TUNABLES:+:$GLIBC_TUNABLES}"
