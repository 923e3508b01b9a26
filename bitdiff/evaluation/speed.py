"""How fast a configuration runs on this machine: training, sampling, data, checkpoints, startup, Inception features."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from bitdiff import data
from bitdiff.evaluation.timing import ROUNDS, compiler_flops, matrix_peak, no_cache, seconds_of
from bitdiff.metrics import fid, inception, inception_weights
from bitdiff.runtime import devices, flops, processes
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import examples_for, make_task, network_evaluations, sample_options
from bitdiff.tasks.sample_batches import compile_sampler
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints
from bitdiff.training.optimizer import optimizer_of
from bitdiff.training.setup import training_batches
from bitdiff.training.state import init_state
from bitdiff.training.step import Rows, make_train_step

_CHECKPOINT_EVERY = 1_000  # steps that the cost of one checkpoint is compared to
_FEATURES_BATCH = 32


class Bench(NamedTuple):
    """What all parts need: the resolved config, its data, one global batch, the time per measurement, and arguments.

    arguments: command-line arguments of bitdiff.train that reproduce the config, for the startup time.
    """

    config: ml_collections.ConfigDict
    dataset: data.Dataset
    batch: dict[str, np.ndarray]
    seconds: float
    arguments: Sequence[str] = ()


class _Step:
    """A compiled training step, called repeatedly on one batch."""

    def __init__(self, bench: Bench, self_cond_rate: float):
        config = bench.config.copy_and_resolve_references()
        config.diffusion.self_cond_rate = self_cond_rate
        if not self_cond_rate:
            config.diffusion.trained_guidance = 0.0
        self.task = make_task(config)
        optimizer = optimizer_of(config, self.task)
        self.state = devices.replicate(init_state(self.task.init(jax.random.key(0)), optimizer))
        step = make_train_step(
            self.task,
            optimizer,
            ema_decay=config.optimizer.ema_decay,
            accumulate=config.train.accumulate,
            key=jax.random.key(0),
        )
        rows = len(next(iter(bench.batch.values())))
        self.rows = devices.split(Rows(bench.batch, np.arange(rows, dtype=np.int32), np.zeros(rows, np.float32)))
        start = time.perf_counter()
        self.compiled = cast(Any, step).lower(self.state, self.rows).compile()
        self.compile_seconds = time.perf_counter() - start

    def __call__(self) -> Any:
        self.state, metrics = self.compiled(self.state, self.rows)
        return metrics


def measure_training(bench: Bench) -> dict[str, float]:
    """The numbers of a step, and the cost of self-conditioning: a step's time over that of one without it."""
    result, config = measure_step(bench), bench.config
    if config.diffusion.self_cond_rate and config.task not in ("autoregressive", "prior", "masked", "distillation"):
        alone = seconds_of(_Step(bench, 0.0), bench.seconds)
        result["self_conditioning_cost"] = 1.0 / result["steps_per_second"] / alone
    return result


def measure_step(bench: Bench) -> dict[str, float]:
    """A training step's time, FLOPs by two counts, fraction of peak FLOPs, and memory."""
    config = bench.config
    with no_cache():
        step = _Step(bench, config.diffusion.self_cond_rate)
    seconds = seconds_of(step, bench.seconds)
    size = devices.per_device(config.train.batch_size, "config.train.batch_size")
    one = {name: jax.ShapeDtypeStruct((size, *a.shape[1:]), a.dtype) for name, a in bench.batch.items()}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size))
    counted = flops.count_gradient(step.task.loss, step.state.params, one, keys, has_aux=True)
    peak = matrix_peak(config.network.dtype, bench.seconds)
    memory = step.compiled.memory_analysis()
    result = {
        "compile_seconds": step.compile_seconds,
        "steps_per_second": 1 / seconds,
        "examples_per_second": config.train.batch_size / seconds,
        "gflop_per_step_and_device": counted / 1e9,
        "gflop_per_step_and_device_by_xla": compiler_flops(step.compiled) / 1e9,
        "peak_gflop_per_second": peak / 1e9,
        "fraction_of_peak": counted / seconds / peak,
    }
    if memory is not None:
        total = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
        result["memory_mib"] = (total - memory.alias_size_in_bytes) / 2**20
    return result


def measure_sampling(bench: Bench) -> dict[str, float]:
    """A batch's time, and the cost of the loop: its time over that of as many separate network evaluations."""
    config = bench.config
    task = make_task(config)
    params = devices.replicate(task.init(jax.random.key(0)))
    size = devices.local_batch(config.sample.batch_size)
    examples = examples_for(task, bench.dataset)
    keys = jax.random.split(jax.random.key(0), size)
    rows = devices.split({"condition": task.condition(np.arange(size), None, examples), "key": keys})
    options = sample_options(config.sample)

    def call(options):
        sampler = compile_sampler(task, options)
        return lambda: sampler(params, rows)

    start = time.perf_counter()
    with no_cache():
        jax.block_until_ready(call(options)())
    compiled = time.perf_counter() - start
    seconds = seconds_of(call(options), bench.seconds)
    length = (config.data.length or 1) if task.field == "tokens" else 1
    unit = {"image": "images", "tokens": "tokens", "point": "points", "pose": "poses"}[task.field]
    result = {
        "compile_seconds": compiled,
        f"{unit}_per_second": size * processes.processes()[1] * length / seconds,
    }
    if task.network is not None:
        per_device = jax.tree.map(lambda a: a[0], rows["condition"])
        network = jax.jit(lambda params: task.network(params, per_device, size // jax.local_device_count()))
        alone = seconds_of(lambda: network(params), bench.seconds)
        result |= {
            "network_call_seconds": alone,
            "loop_over_network_calls": seconds / (network_evaluations(options, task) * alone),
        }
    return result


def measure_data(bench: Bench) -> dict[str, float]:
    """Batches per second of the data pipeline on its own."""
    iterator = training_batches(bench.config, bench.dataset)
    for _ in range(2 + bench.config.data.prefetch_batches):
        next(iterator)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < bench.seconds:
        next(iterator)
        count += 1
    return {"batches_per_second": count / (time.perf_counter() - start)}


def measure_checkpoint(bench: Bench) -> dict[str, float]:
    """The time a checkpoint adds to training: that of the steps during a save, minus that of as many other steps."""
    step = _Step(bench, bench.config.diffusion.self_cond_rate)
    seconds = seconds_of(step, bench.seconds)
    with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder)) as checkpoints:
        lost = []
        for i in range(ROUNDS):
            start, steps = time.perf_counter(), 0
            checkpoints.save(i + 1, step.state, {"data": {}}, workdir.plain(bench.config))
            held = time.perf_counter() - start
            while time.perf_counter() - start < held + bench.seconds / ROUNDS:
                jax.block_until_ready(step())
                steps += 1
            checkpoints.wait()
            lost.append(time.perf_counter() - start - steps * seconds)
    stall = float(np.median(lost))
    return {"stall_seconds": stall, f"fraction_of_{_CHECKPOINT_EVERY}_steps": stall / (_CHECKPOINT_EVERY * seconds)}


def measure_start(bench: Bench) -> dict[str, float]:
    """The time from the start of a process to its first loss, with an empty and with a filled compilation cache."""
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            changes = ["--config.train.steps=1", "--config.train.log_every_steps=1"]
            changes += ["--config.optimizer.schedule=constant", "--config.train.sample_every_steps=0"]
            changes += [f"--platform={jax.default_backend()}", f"--workdir={folder}/{name}"]
            line = [sys.executable, "-m", "bitdiff.train", *bench.arguments, *changes]
            environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": f"{folder}/cache"}
            losses, errors = Path(folder, name, "metrics.jsonl"), Path(folder, f"{name}.log")
            start = time.perf_counter()
            with errors.open("w") as log, subprocess.Popen(line, env=environment, stdout=log, stderr=log) as run:
                while run.poll() is None:
                    if f"{name}_seconds" not in times and losses.exists() and losses.stat().st_size:
                        times[f"{name}_seconds"] = time.perf_counter() - start
                    time.sleep(0.02)
            if run.returncode or f"{name}_seconds" not in times:
                raise UsageError(f"a run of one step failed: {errors.read_text().strip()[-500:]}")
    return times | {"warm_over_cold": times["warm_seconds"] / times["cold_seconds"]}


def measure_features(bench: Bench) -> dict[str, float]:
    """Images per second of the Inception features for FID, on images of the config's size, with constant weights."""
    size = devices.local_batch(_FEATURES_BATCH)
    shape = (size, bench.config.data.image_size, bench.config.data.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    example = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    abstract = jax.eval_shape(inception.Inception().init, jax.random.key(0), example)
    constant = jax.tree.map(lambda a: np.full(a.shape, 0.01, a.dtype), abstract)
    extract = fid.make_extractor(inception_weights.Weights(constant, "constant"), _FEATURES_BATCH)
    return {"images_per_second": size / seconds_of(lambda: extract(images), bench.seconds)}


PARTS = {
    "training": measure_training,
    "sampling": measure_sampling,
    "data": measure_data,
    "checkpoint": measure_checkpoint,
    "start": measure_start,
    "features": measure_features,
}
