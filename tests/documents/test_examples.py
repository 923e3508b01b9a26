"""Every example of every document: Python is executed as it stands, and commands are parsed by the commands."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

DOCUMENTS = [
    path
    for path in sorted(ROOT.rglob("*.md"))
    if not any(part.startswith(".") or part == "runs" for part in path.relative_to(ROOT).parts)
]
SOURCES = [*DOCUMENTS, *sorted((ROOT / "configs").glob("*.py")), *sorted((ROOT / "bitdiff").glob("*.py"))]

# Placeholders in the tables' commands, and what replaces them here; a config's default stands in for its variants.
PLACEHOLDERS = {":VARIANT": "", "=SEED": "=0", " [--": " --", "=0]": "=0"}


def python_blocks():
    for path in DOCUMENTS:
        for i, block in enumerate(re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL), start=1):
            yield pytest.param(block, id=f"{path.relative_to(ROOT)}-{i}")


def commands():
    """All `python -m bitdiff.COMMAND ...` of documents and docstrings, without comments and with lines joined."""
    found = {}
    for path in SOURCES:
        text = path.read_text().replace("\\\n", " ")
        for placeholder, example in PLACEHOLDERS.items():
            text = text.replace(placeholder, example)
        for match in re.finditer(r"python -m bitdiff\.(\w+)((?:(?!python -m bitdiff)[^\n`])*)", text):
            arguments = re.split(r"\s#|\s{3,}|; |\.$|\. |, |\)|, and |:$", match[2].replace("\\|", "|"))[0].strip()
            if arguments and "..." not in match[2] and "--help" not in arguments:
                found.setdefault(re.sub(r"\s+", " ", f"{match[1]} {arguments}").rstrip('".:'), path)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("block", list(python_blocks()))
def test_python_examples_run_as_they_stand(block, tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, env=env, text=True, capture_output=True, timeout=300
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_commands_are_accepted_by_the_commands():
    lines = commands()
    assert len(lines) > 40
    result = subprocess.run(
        [sys.executable, "tests/documents/parse_commands.py"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        input="".join(f"{line}\n" for line in lines),
        text=True,
        capture_output=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert not result.stdout, result.stdout + result.stderr


def test_links_and_pictures_exist():
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
            if "://" not in target:
                assert (path.parent / target).exists(), f"{path}: {target}"


def test_the_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def test_the_shipped_model_draws_pictures(command, tmp_path):
    out = tmp_path / "samples.npz"
    code, output = command(
        "sample", "--workdir", "digits", "--num_samples", 20, "--steps", 10, "--out", out, cwd=tmp_path
    )
    assert code == 0, output
    assert (tmp_path / "samples.png").exists()
    with np.load(out, allow_pickle=False) as samples:
        assert samples["image"].shape == (20, 8, 8, 1)
