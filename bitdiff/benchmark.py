"""Measures how fast a configuration runs here: python -m bitdiff.benchmark --config FILE --out bench.json.

Two such files are set side by side, as ratios, by --compare before.json,after.json.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import flags
from ml_collections import config_flags

from bitdiff import __version__, commands, data, files, flops, parallel, workdir
from bitdiff.checkpoints import Checkpoints
from bitdiff.errors import UsageError, choose
from bitdiff.generate import compile_sampler
from bitdiff.logs import table
from bitdiff.metrics import fid, inception, weights
from bitdiff.state import init_state, make_optimizer
from bitdiff.steps import Rows, make_train_step
from bitdiff.tasks import evaluations, examples_for, make_task, sample_options
from bitdiff.train import batches, check

_ROUNDS = 5  # a time is the median of so many
_CHECKPOINT_EVERY = 1_000  # steps, of which a checkpoint's share is given
_FEATURES_BATCH = 32
_PRODUCT_SIZE = {"cpu": 1_024, "gpu": 8_192, "tpu": 8_192}


class Bench(NamedTuple):
    """What the parts share: the resolved config, its data, one global batch, and how long a measurement takes."""

    config: ml_collections.ConfigDict
    dataset: data.Dataset
    batch: dict[str, np.ndarray]
    seconds: float


def seconds_of(call: Callable[[], Any], seconds: float) -> float:
    """The time of a call that returns arrays: the median of five rounds, each of as many calls as fill its share.

    The calls of a round are sent off one after the other and waited for together, as training does.
    """
    jax.block_until_ready(call())
    start = time.perf_counter()
    jax.block_until_ready(call())
    repeats = max(int(seconds / _ROUNDS / (time.perf_counter() - start)), 1)
    rounds = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        jax.block_until_ready([call() for _ in range(repeats)][-1])
        rounds.append((time.perf_counter() - start) / repeats)
    return float(np.median(rounds))


def matrix_peak(dtype: str, seconds: float) -> float:
    """FLOPs per second and device of large matrix products on all at once, the most that a network can hope for."""
    size = _PRODUCT_SIZE.get(jax.default_backend(), 1_024)
    a = parallel.replicate(jnp.ones((size, size), dtype))
    product = jax.jit(jnp.matmul)
    return 2 * size**3 / seconds_of(lambda: product(a, a), seconds)


class _Step:
    """A compiled training step, called again and again on one batch."""

    def __init__(self, bench: Bench, self_cond_rate: float):
        config = bench.config.copy_and_resolve_references()
        config.diffusion.self_cond_rate = self_cond_rate
        self.task = make_task(config)
        optimizer = make_optimizer(config.optimizer, config.train.steps, self.task.frozen)
        self.state = parallel.replicate(init_state(self.task.init(jax.random.key(0)), optimizer))
        step = make_train_step(
            self.task,
            optimizer,
            ema_decay=config.optimizer.ema_decay,
            accumulate=config.train.accumulate,
            key=jax.random.key(0),
        )
        rows = len(next(iter(bench.batch.values())))
        self.rows = parallel.split(Rows(bench.batch, np.arange(rows, dtype=np.int32), np.zeros(rows, np.float32)))
        start = time.perf_counter()
        self.compiled = step.lower(self.state, self.rows).compile()
        self.compile_seconds = time.perf_counter() - start

    def __call__(self) -> Any:
        self.state, metrics = self.compiled(self.state, self.rows)
        return metrics


def measure_training(bench: Bench) -> dict[str, float]:
    """A step: its time, FLOPs by two counts, share of the device's peak, memory; and what self-conditioning costs."""
    config = bench.config
    with _no_cache():
        step = _Step(bench, config.diffusion.self_cond_rate)
    seconds = seconds_of(step, bench.seconds)
    size = parallel.per_device(config.train.batch_size, "config.train.batch_size")
    one = {name: jax.ShapeDtypeStruct((size, *a.shape[1:]), a.dtype) for name, a in bench.batch.items()}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size))
    counted = flops.count(jax.value_and_grad(step.task.loss, has_aux=True), step.state.params, one, keys)
    peak = matrix_peak(config.network.dtype, bench.seconds)
    memory = step.compiled.memory_analysis()
    result = {
        "compile_seconds": step.compile_seconds,
        "steps_per_second": 1 / seconds,
        "examples_per_second": config.train.batch_size / seconds,
        "gflop_per_step_and_device": counted / 1e9,
        "gflop_per_step_and_device_by_xla": _cost(step.compiled) / 1e9,
        "peak_gflop_per_second": peak / 1e9,
        "share_of_peak": counted / seconds / peak,
    }
    if memory is not None:
        total = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
        result["memory_mib"] = (total - memory.alias_size_in_bytes) / 2**20
    if config.diffusion.self_cond_rate and config.task not in ("autoregressive", "prior"):
        del step
        result["self_conditioning_costs"] = seconds / seconds_of(_Step(bench, 0.0), bench.seconds)
    return result


def measure_sampling(bench: Bench) -> dict[str, float]:
    """A batch's time, and what the loop around the network adds: its time over that of so many single calls."""
    config = bench.config
    task = make_task(config)
    params = parallel.replicate(task.init(jax.random.key(0)))
    size = parallel.local_batch(config.sample.batch_size)
    images = examples_for(task, bench.dataset)
    keys = jax.random.split(jax.random.key(0), size)
    rows = parallel.split({"condition": task.condition(np.arange(size), None, images), "key": keys})
    options = sample_options(config.sample)

    def call(options):
        sampler = compile_sampler(task, options)
        return lambda: sampler(params, rows)

    start = time.perf_counter()
    with _no_cache():
        jax.block_until_ready(call(options)())
    compiled = time.perf_counter() - start
    seconds = seconds_of(call(options), bench.seconds)
    length = config.data.length or 1
    unit = {"image": "images", "tokens": "tokens", "point": "points"}[task.field]
    result = {
        "compile_seconds": compiled,
        f"{unit}_per_second": size * parallel.processes()[1] * length / seconds,
    }
    if task.network is not None:
        per_device = jax.tree.map(lambda a: a[0], rows["condition"])
        network = jax.jit(lambda params: task.network(params, per_device, size // jax.local_device_count()))
        alone = seconds_of(lambda: network(params), bench.seconds)
        result |= {
            "network_call_seconds": alone,
            "loop_over_network_calls": seconds / (evaluations(options) * alone),
        }
    return result


def measure_data(bench: Bench) -> dict[str, float]:
    """Batches that the pipeline makes when nobody else works."""
    iterator = batches(bench.config, bench.dataset)
    for _ in range(2 + bench.config.data.prefetch_batches):
        next(iterator)
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < bench.seconds:
        next(iterator)
        count += 1
    return {"batches_per_second": count / (time.perf_counter() - start)}


def measure_checkpoint(bench: Bench) -> dict[str, float]:
    """What a checkpoint adds to training: of as many steps as outlast it, the time with one less that without."""
    step = _Step(bench, bench.config.diffusion.self_cond_rate)
    seconds = seconds_of(step, bench.seconds)
    with tempfile.TemporaryDirectory() as folder, Checkpoints(Path(folder)) as checkpoints:
        lost = []
        for i in range(_ROUNDS):
            start, steps = time.perf_counter(), 0
            checkpoints.save(i + 1, step.state, {"data": {}}, workdir.plain(bench.config))
            held = time.perf_counter() - start
            while time.perf_counter() - start < held + bench.seconds / _ROUNDS:
                jax.block_until_ready(step())
                steps += 1
            checkpoints.wait()
            lost.append(time.perf_counter() - start - steps * seconds)
    stall = float(np.median(lost))
    return {"stall_seconds": stall, f"share_of_{_CHECKPOINT_EVERY}_steps": stall / (_CHECKPOINT_EVERY * seconds)}


def measure_start(bench: Bench) -> dict[str, float]:
    """How long a process needs to its first step's loss: with an empty compilation cache, and once it is filled."""
    times = {}
    flag = flags.FLAGS["config"]
    given = [f"--config={config_flags.get_config_filename(flag)}"]
    given += [f"--config.{name}={value}" for name, value in config_flags.get_override_values(flag).items()]
    with tempfile.TemporaryDirectory() as folder:
        for name in ("cold", "warm"):
            changes = ["--config.train.steps=1", "--config.train.log_every_steps=1"]
            changes += ["--config.optimizer.schedule=constant", "--config.train.sample_every_steps=0"]
            changes += [f"--platform={jax.default_backend()}", f"--workdir={folder}/{name}"]
            line = [sys.executable, "-m", "bitdiff.train", *given, *changes]
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
    """Inception's features, as FID takes them, of images as the config has them; the weights are random."""
    size = parallel.local_batch(_FEATURES_BATCH)
    shape = (size, bench.config.data.image_size, bench.config.data.image_size, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    example = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    abstract = jax.eval_shape(inception.Inception().init, jax.random.key(0), example)
    random = jax.tree.map(lambda a: np.full(a.shape, 0.01, a.dtype), abstract)
    extract = fid.make_extractor(weights.Weights(random, "random"), _FEATURES_BATCH)
    return {"images_per_second": size / seconds_of(lambda: extract(images), bench.seconds)}


PARTS = {
    "training": measure_training,
    "sampling": measure_sampling,
    "data": measure_data,
    "checkpoint": measure_checkpoint,
    "start": measure_start,
    "features": measure_features,
}


def ratios(before: dict[str, Any], after: dict[str, Any]) -> dict[str, float]:
    """after / before of every number that both reports hold, by 'part.name'."""
    numbers = [workdir.flatten(report["parts"]) for report in (before, after)]
    return {name: numbers[1][name] / value for name, value in numbers[0].items() if value and name in numbers[1]}


def read(path: Path) -> dict[str, Any]:
    """A report of this command.

    Raises:
      UsageError: it is none.
    """
    try:
        report = json.loads(path.read_text())
        workdir.flatten(report["parts"])
        return report
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(f"{path} is no report of bitdiff.benchmark ({error})") from error


@contextlib.contextmanager
def _no_cache() -> Iterator[None]:
    """Compiles anew, whatever the persistent cache holds."""
    before = jax.config.jax_enable_compilation_cache
    jax.config.update("jax_enable_compilation_cache", False)
    try:
        yield
    finally:
        jax.config.update("jax_enable_compilation_cache", before)


def _cost(compiled: Any) -> float:
    analysis = compiled.cost_analysis()
    analysis = analysis[0] if isinstance(analysis, list) else analysis or {}
    return analysis.get("flops", float("nan"))


def define_flags() -> None:
    """Defines the command's flags."""
    config_flags.DEFINE_config_file("config", None, "The configuration file, with ':variant' behind it if wanted.")
    parts = [name for name in PARTS if name != "features"]
    flags.DEFINE_list("parts", parts, f"What to measure: {', '.join(PARTS)}.")
    flags.DEFINE_float("seconds", 10.0, "How long each measurement takes, about.", lower_bound=0.0)
    flags.DEFINE_string("out", None, "A JSON file for the numbers, beside printing them.")
    flags.DEFINE_list("compare", None, "Two such files, to be set side by side; nothing is measured.")


def main() -> None:
    """The command."""
    if flags.FLAGS.compare is not None:
        if len(flags.FLAGS.compare) != 2:
            raise UsageError("--compare takes two files: before.json,after.json")
        before, after = (read(Path(path)) for path in flags.FLAGS.compare)
        print(table([(name, f"x {ratio:.3g}") for name, ratio in ratios(before, after).items()]))
        return
    if flags.FLAGS.config is None:
        raise UsageError("give --config, or --compare")
    for part in flags.FLAGS.parts:
        choose("part (--parts)", part, PARTS)
    if flags.FLAGS.out:
        files.check_writable(Path(flags.FLAGS.out))
    config = flags.FLAGS.config
    dataset = data.load(config.data)
    config = data.resolve(config, dataset)
    check(config, make_task(config), dataset)
    bench = Bench(config, dataset, next(batches(config, dataset)), flags.FLAGS.seconds)
    report = {
        "device": parallel.describe_devices(),
        "versions": {"bitdiff": __version__, "jax": jax.__version__},
        "config": workdir.plain(config),
        "parts": {},
    }
    for part in flags.FLAGS.parts:
        report["parts"][part] = PARTS[part](bench)
        rows = [(f"{part}: {name.replace('_', ' ')}", f"{value:.4g}") for name, value in report["parts"][part].items()]
        print(table(rows), flush=True)
    parts = report["parts"]
    if "training" in parts and "data" in parts:
        parts["data"]["over_training"] = parts["data"]["batches_per_second"] / parts["training"]["steps_per_second"]
        print(table([("data: over training", f"{parts['data']['over_training']:.4g}")]))
    if flags.FLAGS.out and parallel.is_main():
        files.write_text(Path(flags.FLAGS.out), json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
