#!/usr/bin/env bash
# Checks the code and runs all tests; `quick` as the first argument skips those marked slow.
# Further arguments are passed to pytest.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

ruff check .
ruff format --check .
pyrefly check --output-format min-text
python launch/tables.py --check
if [ "${1:-}" = quick ]; then
  shift
  set -- -m "not slow" "$@"
fi
python -m pytest "$@"
