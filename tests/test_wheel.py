"""The installed package, without a checkout."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT


def run(line, folder, **env):
    return subprocess.run(line, cwd=folder, env=os.environ | env, text=True, capture_output=True, timeout=300)


@pytest.mark.slow
def test_a_wheel_holds_commands_configs_and_the_shipped_model(tmp_path):
    source = tmp_path / "source"  # a copy, since building leaves files behind
    for name in ("bitdiff", "configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.py", "README.md"):
        shutil.copy(ROOT / name, source / name)
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(tmp_path)]
    result = run([sys.executable, "-m", "pip", "wheel", *options, str(source)], tmp_path)
    assert result.returncode == 0, result.stderr
    (wheel,) = tmp_path.glob("bitdiff-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "site")
    assert {"bitdiff/py.typed", "bitdiff/configs/digits.py", "bitdiff/models/digits/weights.safetensors"} <= names
    assert not [name for name in names if name.startswith(("configs/", "tests/", "launch/"))]
    code = (
        "import bitdiff; assert 'site' in bitdiff.__file__, bitdiff.__file__; "
        "assert bitdiff.load_config('digits:gray').bits.encoding == 'gray'; "
        "import bitdiff.configs.digits_disco as d; assert 'site' in d.__file__, d.__file__; "
        "print(bitdiff.load('digits').sample(2, steps=2)['image'].shape)"
    )
    result = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(tmp_path / "site"))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "(2, 8, 8, 1)"
