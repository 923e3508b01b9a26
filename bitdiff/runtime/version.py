"""The version of bitdiff; setup.py reads it from here."""

import subprocess
from pathlib import Path

__version__ = "0.2.0"

_ROOT = Path(__file__).resolve().parents[2]


def current_commit() -> str:
    """The abbreviated hash of the checkout's commit; 'unknown' without git or outside of a checkout."""
    if not (_ROOT / ".git").exists():  # an installed package, perhaps inside another project's checkout
        return "unknown"
    command = ["git", "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, cwd=_ROOT, check=True, capture_output=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
