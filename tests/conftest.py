"""Shared fixtures: tiny configs, a tiny trained run, and a way to run the commands."""

import gc
import importlib
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

# Compilation dominates the run time of the tests, and their networks are tiny. Set before jax is imported here or in
# the commands that tests start.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
# XLA's newer way to compile fusions takes twice as long; only this version has a flag for it, and rejects unknown ones.
QUICK = "--xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else ""
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {QUICK}".strip()

import forked
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.configs import digits
from bitdiff.data import Dataset, pockets
from bitdiff.data.complexes import fields_of
from bitdiff.data.dataset import Arrays
from bitdiff.runtime import startup
from bitdiff.training.trainer import train

ROOT = Path(__file__).parent.parent

startup.set_up_cache()
gc.set_threshold(20_000, 20, 20)  # compiled programs are millions of objects, scanned again by each collection


def tiny_config(**overrides):
    """The digits config with a network that compiles and trains quickly; override fields such as "train.steps"."""
    config = digits.get_config()
    config.network.update(dim=8, multipliers=(1,), attention_resolutions=(), head_dim=8)
    config.optimizer.update(warmup_steps=2, schedule="constant")  # so that a larger train.steps continues the same run
    config.train.update(steps=6, batch_size=16, log_every_steps=1, sample_every_steps=0)
    config.checkpoint.update(every_steps=2, keep=3)
    config.sample.update(steps=3, batch_size=20, num_samples=20)
    config.evaluate.num_samples = 40
    config.update_from_flattened_dict(overrides)
    return config


@pytest.fixture
def make_config():
    return tiny_config


@pytest.fixture
def launch_script(monkeypatch):
    """Imports a script of the launch folder by its name, for one test."""
    monkeypatch.syspath_prepend(str(ROOT / "launch"))
    imported = []

    def load(name):
        imported.append(name)
        return importlib.import_module(name)

    yield load
    for name in imported:
        sys.modules.pop(name)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """The workdir of a tiny finished run (6 steps); tests must not change it."""
    folder = tmp_path_factory.mktemp("run") / "workdir"
    train(tiny_config(), folder)
    return folder


def perturbed(params, scale=0.3):
    """Moves all weights away from zero, so that every part of a network affects its output."""
    rng = np.random.default_rng(9)
    return jax.tree.map(lambda a: a + scale * rng.standard_normal(a.shape, np.float32), params)


def exact_predictor(probabilities: np.ndarray):
    """Masked diffusion's log p(value | the values that remain) of pairs with a known distribution [V, V]."""
    joint = jnp.asarray(probabilities, jnp.float32)

    def predict(x_t, alpha_t):
        del alpha_t
        first, second = x_t[:, 0], x_t[:, 1]
        given_second = jnp.where(second[:, None] < 0, joint.sum(1), joint[:, second].T)
        given_first = jnp.where(first[:, None] < 0, joint.sum(0), joint[first])
        return jnp.log(jnp.stack([given_second, given_first], axis=1) + 1e-30)

    return predict


TINY_FLAGS = [
    "--config.network.dim=8",
    "--config.network.multipliers=(1,)",
    "--config.network.attention_resolutions=()",
    "--config.network.head_dim=8",
    "--config.optimizer.warmup_steps=2",
    "--config.optimizer.schedule=constant",
    "--config.train.batch_size=16",
    "--config.train.log_every_steps=1",
    "--config.train.sample_every_steps=0",
    "--config.checkpoint.every_steps=2",
    "--config.sample.steps=3",
    "--config.sample.batch_size=20",
    "--config.evaluate.num_samples=40",
]


@pytest.fixture
def command(tmp_path_factory):
    """Runs `python -m bitdiff.NAME ARGS` to completion; returns (exit code, combined output).

    The command runs in a fork of a process that has imported everything. `command.fresh` starts a new Python
    process, with the words in `prefix` before it; `command.start` returns the started process.
    """

    def run(name, *args, devices=1, cwd=ROOT):
        log = tmp_path_factory.mktemp("output") / "output.txt"
        environment = {"XLA_FLAGS": _xla_flags(devices)}
        return forked.run([name, *map(str, args)], log, cwd, environment, limit=300)

    def fresh(name, *args, **kwargs):
        process = start(name, *args, **kwargs)
        output, _ = process.communicate(timeout=300)
        return process.returncode, output

    def start(name, *args, devices=1, cwd=ROOT, prefix=()):
        environment = {"XLA_FLAGS": _xla_flags(devices), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        return subprocess.Popen(
            [*prefix, sys.executable, "-m", f"bitdiff.{name}", *map(str, args)],
            cwd=cwd,
            env=os.environ | environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    run.fresh, run.start = fresh, start
    return run


def _xla_flags(devices):
    return f"{QUICK} --xla_force_host_platform_device_count={devices}" if devices else QUICK


@pytest.fixture(scope="session")
def complexes():
    """A data set of twelve complexes with two pockets and rigid ligands, for training and for testing."""
    arrays = pockets.draw_examples(12, seed=3, source=pockets.TREES)
    kinds = pockets.TREES.kinds
    facts = {"sizes": fields_of(pockets.TREES.sizes, kinds.atoms, kinds.residues)}
    return Dataset("pose", Arrays(arrays), Arrays(arrays), (pockets.ATOMS[1], 3), 0, 0, (), "complexes", **facts)
