"""A part of tests/hostile.py, which runs hundreds of commands with bad input."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_bad_input_is_refused_in_one_line(tmp_path):
    line = [sys.executable, str(ROOT / "tests" / "hostile.py"), "--every", "9"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(line, cwd=tmp_path, env=env, text=True, capture_output=True, timeout=500)
    assert result.returncode == 0, result.stdout[-3000:]
    assert int(re.search(r"of (\d+) commands", result.stdout)[1]) >= 30
