#!/usr/bin/env python3
"""Measures training and sampling on one GPU: bash launch/gpu_report.sh --out gpu.json.

Measures the networks of the published configs at full size on random data: speed, the fraction of the GPU's measured
matrix-multiplication peak, and memory. Also compares the U-Nets with the same networks in PyTorch (if torch is
installed), implementations of attention with one another, and the GPU's losses with the CPU's. The most important
measurements come first; the report is written after each one, and none is started after --minutes. With `--trial`, tiny
networks are measured on any device, including a CPU, to test the script itself.
"""

import argparse
import functools
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from plans import DTYPES
from study import ROOT, versions

from bitdiff import data, plan
from bitdiff.configuration.named import load_config
from bitdiff.data.dataset import Arrays
from bitdiff.evaluation import speed
from bitdiff.evaluation.timing import seconds_of
from bitdiff.planning.programs import blank_examples
from bitdiff.runtime.devices import describe_devices
from bitdiff.runtime.version import current_commit
from bitdiff.tasks import make_task

_SAMPLING_STEPS = 10
_SCALE = 0.05  # standard deviation of the random weights in compare_losses, so that the output is of order one
_TORCH_SECONDS = 150.0  # for one network, most of it for compilation
_CHECKED_ROWS = 2  # examples whose loss is also computed on the CPU


class Case(NamedTuple):
    """A published config, and its examples per GPU in training."""

    config: str
    rows: int


CASES = {
    "CIFAR-10": Case("cifar10:uint_cond", 128),
    "ImageNet 64": Case("imagenet64:uint_cond", 64),
    "captions": Case("coco:bits", 32),
    "ImageNet 64 with latents": Case("imagenet64_disco:disco", 64),
}
_UNETS = ("CIFAR-10", "ImageNet 64")
_ATTENTION = {  # batch, positions, heads, channels per head
    "CIFAR-10 at 16 x 16": (128, 256, 4, 64),
    "ImageNet 64 at 32 x 32": (32, 1024, 6, 64),
}
_TRIAL = {"dim": 8, "blocks": 1, "layers": 1, "multipliers": (1, 2), "attention_resolutions": (16, 32), "head_dim": 8}
_TRIAL_PICTURE = 64  # height and width of a captioned picture, in pixels


def resolved(case: Case, dtype: str, trial: bool) -> ml_collections.ConfigDict:
    """A case's config for one device, with its networks in the given dtype; its data set is not read."""
    config = load_config(case.config)
    for name in DTYPES.get(case.config.split(":")[0], ("network",)):
        section = functools.reduce(getattr, name.split("."), config)
        section.update(
            {"dtype": dtype} | ({key: value for key, value in _TRIAL.items() if key in section} if trial else {})
        )
    if trial and config.encoder:
        config.data.image_size = _TRIAL_PICTURE
    rows = 4 if trial else case.rows
    config.train.update(batch_size=rows, accumulate=1)
    config.sample.update(batch_size=rows, steps=_SAMPLING_STEPS)
    return plan.resolved(config)


def random_bench(config: ml_collections.ConfigDict, seconds: float) -> speed.Bench:
    """The `speed.Bench` of a config, with random data of its shapes."""
    rng = np.random.default_rng(0)
    limits = {"image": 256, "tokens": config.data.vocab_size, "label": config.data.num_classes}
    blank = blank_examples(config, make_task(config))
    rows = config.train.batch_size
    batch = {
        name: rng.integers(0, limits[name], (rows, *one.shape[1:])).astype(one.dtype) for name, one in blank.items()
    }
    arrays = Arrays(batch)
    shape = blank["image"].shape[1:] if "image" in blank else blank["tokens"].shape[-1:]
    field = "captions" if config.encoder else "image"
    sizes = (config.data.vocab_size, config.data.num_classes)
    dataset = data.Dataset(field, arrays, arrays, shape, *sizes, (), "random", length=config.data.length)
    return speed.Bench(config, dataset, batch, seconds)


def measure_case(case: Case, dtype: str, seconds: float, trial: bool) -> dict[str, Any]:
    """Training and sampling of one network in one dtype."""
    bench = random_bench(resolved(case, dtype, trial), seconds)
    found = {f"training_{name}": value for name, value in speed.measure_step(bench).items()}
    return found | {f"sampling_{name}": value for name, value in speed.measure_sampling(bench).items()}


def measure_torch(case: Case, dtype: str, seconds: float) -> dict[str, Any]:
    """The same U-Net in PyTorch, in its own process, which is ended if it takes too long."""
    line = [sys.executable, "launch/torch_unet.py", "--config", case.config, "--rows", str(case.rows)]
    line += ["--dtype", dtype, "--seconds", str(seconds)]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=_TORCH_SECONDS, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else {"error": done.stderr.strip()[-300:]}


def measure_attention(shape: tuple[int, ...], seconds: float) -> dict[str, Any]:
    """Seconds of a forward and backward pass of attention in bfloat16, by implementation."""
    arrays = jax.random.normal(jax.random.key(0), (3, *shape), jnp.bfloat16)

    def attend(arrays: jax.Array, implementation: str) -> jax.Array:
        return jax.nn.dot_product_attention(*arrays, implementation=implementation)

    found: dict[str, Any] = {}
    for name, function in {
        "xla": functools.partial(attend, implementation="xla"),
        "xla, weights recomputed": jax.checkpoint(functools.partial(attend, implementation="xla")),
        "cudnn": functools.partial(attend, implementation="cudnn"),
    }.items():
        gradient = jax.jit(jax.grad(lambda arrays, function=function: function(arrays).astype(jnp.float32).sum()))
        try:
            found[f"{name}, seconds"] = seconds_of(lambda gradient=gradient: gradient(arrays), seconds)
        except Exception as error:  # an implementation may not support this device or these shapes
            found[f"{name}, error"] = str(error).strip().splitlines()[-1][:200]
    return found


def compare_losses(case: Case, trial: bool) -> dict[str, float]:
    """The losses of two examples on the GPU and the CPU, in float32 at full matmul precision, and their difference."""
    config = resolved(case, "float32", trial)
    config.train.batch_size = _CHECKED_ROWS
    task, batch = make_task(config), random_bench(config, 0.0).batch
    # A new network outputs nearly zero, so its loss would be nearly the same whatever its other layers compute.
    noise = np.random.default_rng(0)
    shapes = jax.eval_shape(task.init, jax.random.key(0))
    params = jax.tree.map(lambda a: _SCALE * noise.standard_normal(a.shape, np.float32), shapes)
    losses = []
    for device in (jax.devices()[0], jax.local_devices(backend="cpu")[0]):
        with jax.default_device(device), jax.default_matmul_precision("highest"):
            keys = jax.random.split(jax.random.key(1), _CHECKED_ROWS)
            losses.append(float(jax.jit(lambda *a: task.loss(*a)[0])(params, batch, keys)))
    here, cpu = losses
    return {"loss": here, "loss_on_cpu": cpu, "relative_difference": abs(here - cpu) / abs(cpu)}


def parts(seconds: float, trial: bool) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """All measurements by name, in order of importance."""
    in_torch = importlib.util.find_spec("torch") and not trial
    for name in _UNETS:
        yield f"{name}, bfloat16", functools.partial(measure_case, CASES[name], "bfloat16", seconds, trial)
        if in_torch:
            yield f"{name}, bfloat16, PyTorch", functools.partial(measure_torch, CASES[name], "bfloat16", seconds)
    for name, shape in _ATTENTION.items():
        small = (2, 16, 2, 8) if trial else shape
        yield f"attention, {name}", functools.partial(measure_attention, small, seconds)
    for name in _UNETS:
        yield f"losses, {name}", functools.partial(compare_losses, CASES[name], trial)
    for name, case in CASES.items():
        if name not in _UNETS:
            yield f"{name}, bfloat16", functools.partial(measure_case, case, "bfloat16", seconds, trial)
    for name, case in CASES.items():
        yield f"{name}, float32", functools.partial(measure_case, case, "float32", seconds, trial)


def with_ratios(found: dict[str, Any]) -> dict[str, float]:
    """PyTorch's times divided by bitdiff's (above 1: bitdiff is faster), for the networks measured in both."""
    ratios = {}
    for name in found:
        ours, theirs = found[name], found.get(f"{name}, PyTorch", {})
        if "examples_per_second" in theirs and "training_examples_per_second" in ours:
            ratios[f"{name}, training"] = ours["training_examples_per_second"] / theirs["examples_per_second"]
        if "network_call_seconds" in theirs and "sampling_network_call_seconds" in ours:
            calls = theirs["network_call_seconds"] / ours["sampling_network_call_seconds"]
            ratios[f"{name}, network evaluation"] = calls
    return ratios


def main() -> None:
    """Runs the script."""
    parser = argparse.ArgumentParser(description="Measures training and sampling on one GPU.")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    parser.add_argument("--minutes", type=float, default=8.5, help="minutes after which no part is started")
    parser.add_argument("--seconds", type=float, default=3.0, help="approximate time of each measurement")
    parser.add_argument("--trial", action="store_true", help="tiny networks, on any device")
    options = parser.parse_args()
    if jax.default_backend() != "gpu" and not options.trial:
        sys.exit(f"error: jax found {describe_devices()}; the report needs a GPU (or --trial, to try the script)")
    start = time.monotonic()
    report: dict[str, Any] = {
        "command": "bash launch/gpu_report.sh" + (" --trial" if options.trial else ""),
        "commit": current_commit(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "hardware": describe_devices(),
        "versions": versions(),
        "parts": {},
    }
    for name, measure in parts(options.seconds, options.trial):
        if time.monotonic() - start > 60 * options.minutes:
            report["parts"][name] = {"skipped": f"{options.minutes:g} minutes had passed"}
        else:
            print(f"{time.monotonic() - start:4.0f} s  {name} ...", flush=True)
            try:
                report["parts"][name] = measure()
            except Exception as error:  # such as a lack of memory; the other parts are still worth measuring
                report["parts"][name] = {"error": " ".join(str(error).split())[:300]}
            print(json.dumps(report["parts"][name]), flush=True)
        report["speed relative to PyTorch"] = with_ratios(report["parts"])
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(f"wrote {options.out} after {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    main()
