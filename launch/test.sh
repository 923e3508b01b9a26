#!/usr/bin/env bash
# Lints, checks the format, and runs all tests; arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/environment.sh"

ruff check .
ruff format --check .
python -m pytest "$@"
