"""Trains a model, or goes on training it: python -m bitdiff.train --config FILE --workdir DIR."""

import math
import signal
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import ml_collections
import numpy as np
from absl import flags
from clu import parameter_overview
from ml_collections import config_flags

from bitdiff import commands, data, generate, parallel, pictures, workdir
from bitdiff.checkpoints import Checkpoints, Policy
from bitdiff.data.dataset import fingerprint
from bitdiff.errors import DivergedError, UsageError
from bitdiff.interrupts import StopSignals
from bitdiff.logs import NoLog, TrainLog, table
from bitdiff.state import init_state, make_optimizer
from bitdiff.steps import Rows, make_test_loss, make_train_step
from bitdiff.tasks import Task, complete, examples_for, make_task, sample_options

_METRICS_LAG = 2  # steps that may be under way before their metrics are looked at


class Progress(NamedTuple):
    """How training ended: the steps done, and the signal that stopped it, if one did."""

    step: int
    signal: signal.Signals | None


def train(config: ml_collections.ConfigDict, folder: Path) -> Progress:
    """Trains until config.train.steps, from the latest checkpoint in `folder` if there is one.

    Writes checkpoints, config.json, metrics.jsonl, TensorBoard files and previews. SIGINT and SIGTERM end
    training after the current step, with a checkpoint.

    Raises:
      UsageError: bad input, before anything is compiled.
      DivergedError: the loss or its gradient is not finite; nothing is saved from then on.
    """
    dataset = data.load(config.data)
    config = complete(data.resolve(config, dataset), folder)
    task = make_task(config)
    optimizer = make_optimizer(config.optimizer, config.train.steps, task.frozen)
    init_key, run_key = jax.random.split(jax.random.key(config.seed))
    check(config, task, dataset)
    if workdir.has_checkpoints(folder):
        workdir.check_unchanged(folder, config)
    parallel.agree("the config", workdir.plain(config))
    parallel.agree("the data", [dataset.about, len(dataset.train), fingerprint(dataset.train)])
    if parallel.is_main():
        workdir.make(folder)
    parallel.check_shared(folder)

    checkpoints = Checkpoints(folder, policy=Policy.of(config.checkpoint))
    abstract_state = jax.eval_shape(lambda: init_state(task.init(init_key), optimizer))
    restored = checkpoints.restore(abstract_state, ("data", "examples", "sums"))
    iterator = batches(config, dataset)
    print(f"{parallel.describe_devices()}; {dataset.about}; {len(dataset.train)} training examples", flush=True)
    if restored is None:
        params = task.start(jax.jit(task.init)(init_key))
        state = parallel.replicate(jax.jit(lambda params: init_state(params, optimizer))(params))
        sums = {}
    else:
        state = restored.state
        if restored.progress["examples"] != len(dataset.train):
            raise UsageError(
                f"{folder} was trained on {restored.progress['examples']} examples; the data now hold "
                f"{len(dataset.train)} ({dataset.about}). Give the same data, or another --workdir"
            )
        iterator.set_state(restored.progress["data"])
        sums = restored.progress["sums"]
        print(f"resuming from step {restored.step} in {checkpoints.folder}", flush=True)
    if parallel.is_main():
        if dataset.tokenizer:
            workdir.save_tokenizer(folder, dataset.tokenizer)
        workdir.save_config(folder, config)  # last, so that a refusal leaves the old one
    print(f"{parameter_overview.count_parameters(state.params):,} parameters", flush=True)
    with StopSignals() as stop:
        run = _Run(config, folder, task, checkpoints, state, iterator, sums, dataset, run_key)
        train_step = make_train_step(
            task,
            optimizer,
            ema_decay=config.optimizer.ema_decay,
            accumulate=config.train.accumulate,
            key=run_key,
        )
        done = run.loop(train_step, stop)
    return Progress(done, run.stopped_by)


def batches(config: ml_collections.ConfigDict, dataset: data.Dataset) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of the training batches, as `data.batches` makes them."""
    return data.batches(
        dataset.train,
        batch_size=config.train.batch_size,
        seed=config.seed,
        flip=config.data.flip,
        crop=config.data.crop,
        captions=(config.data.captions_drawn or config.data.captions) if dataset.field == "captions" else 0,
        curriculum_steps=config.data.curriculum_steps,
        prefetch_batches=config.data.prefetch_batches,
        process=parallel.processes(),
    )


def check(config: ml_collections.ConfigDict, task: Task, dataset: data.Dataset) -> None:
    """Traces what will be compiled, so that whatever does not fit is said at once.

    Raises:
      UsageError: a size, name or number in the config does not fit.
    """
    if not 0 <= config.seed < 2**31:
        raise UsageError(f"config.seed is {config.seed}; it must be from 0 to 2^31 - 1")
    if not 0 <= config.optimizer.ema_decay < 1:
        raise UsageError(f"config.optimizer.ema_decay is {config.optimizer.ema_decay}; it must be in [0, 1)")
    if config.data.prefetch_batches < 0:
        raise UsageError(f"config.data.prefetch_batches is {config.data.prefetch_batches}; it must be 0 or more")
    for field in ("train.steps", "train.accumulate", "train.log_every_steps", "checkpoint.every_steps"):
        section, name = field.split(".")
        if config[section][name] < 1:
            raise UsageError(f"config.{field} is {config[section][name]}; it must be 1 or more")
    size = parallel.per_device(config.train.batch_size, "config.train.batch_size")
    if size % config.train.accumulate:
        raise UsageError(
            f"config.train.accumulate is {config.train.accumulate}; it must divide the {size} examples of a device"
        )
    size //= config.train.accumulate
    if Policy.of(config.checkpoint).needs_test_loss and not len(dataset.test):
        raise UsageError(
            "config.checkpoint.best_metric is test_loss, but the data have no test examples; take 'loss', or set "
            "config.data.test_fraction"
        )
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), size))
    params = jax.eval_shape(task.init, jax.random.key(0))
    example = dataset.train[0]
    if dataset.field == "captions":
        example |= {"tokens": example["tokens"][: config.data.captions_drawn or None]}
    batch = {
        name: jax.ShapeDtypeStruct((size, *np.shape(value)), np.asarray(value).dtype) for name, value in example.items()
    }
    jax.eval_shape(task.loss, params, batch, keys)
    if config.sample.batch_size < 1:
        raise UsageError(f"config.sample.batch_size is {config.sample.batch_size}; it must be 1 or more")
    condition = task.condition(np.arange(size), None)
    options = sample_options(config.sample)
    jax.eval_shape(lambda *args: task.sample(*args, options), params, condition, keys)


class _Run:
    """The training loop and what it writes."""

    def __init__(self, config, folder, task, checkpoints, state, iterator, sums, dataset, key):
        self.config, self.folder, self.task = config, folder, task
        self.checkpoints, self.state, self.iterator = checkpoints, state, iterator
        self.examples, self.test, self.about = len(dataset.train), dataset.test, dataset.about
        self.tokenizer = dataset.tokenizer
        self.images = examples_for(task, dataset)
        self.policy = Policy.of(config.checkpoint)
        self.measure = make_test_loss(task, key)
        self.sums = dict(sums)  # of the metrics since the last line of the log
        self.step = self.saved = int(state.step)
        self.pending = deque()
        log = TrainLog if parallel.is_main() else NoLog
        self.log = log(folder, first_step=self.step, total_steps=config.train.steps)
        index, count = parallel.processes()
        self.rows = config.train.batch_size // count
        self.index = np.arange(index * self.rows, (index + 1) * self.rows, dtype=np.int32)
        self.stopped_by = None
        self.clock = (time.monotonic(), self.step)

    def loop(self, train_step, stop: StopSignals) -> int:
        config, first = self.config, self.step
        started = time.monotonic()
        try:
            while self.step < config.train.steps and not self.stopped_by:
                asked = np.full(self.rows, stop.received or 0, np.float32)
                rows = Rows(next(self.iterator), self.index, asked)
                self.state, metrics = train_step(self.state, parallel.split(rows))
                self.step += 1
                self.pending.append((self.step, metrics))
                self.collect(keep=_METRICS_LAG)
                if stop.received and parallel.processes()[1] == 1:
                    self.stopped_by = stop.received  # nobody to agree with
                if self.due(config.train.log_every_steps):
                    self.write_scalars()
                if self.due(config.checkpoint.every_steps) or self.step == config.train.steps:
                    self.save()
                if config.train.sample_every_steps and (
                    self.due(config.train.sample_every_steps) or self.step == config.train.steps
                ):
                    self.preview()
            if self.saved < self.step:
                self.save()
            self.checkpoints.wait()
        finally:
            self.log.close()
            self.checkpoints.close()
        seconds = time.monotonic() - started
        rows = [
            ("steps", f"{self.step:,} of {config.train.steps:,}, {self.step - first:,} of them now"),
            ("time", f"{seconds:.1f} s, compilation included"),
            ("checkpoint", f"step {self.saved} in {self.checkpoints.folder}"),
        ]
        if self.stopped_by:
            rows.insert(0, ("stopped", f"by {self.stopped_by.name}; the same command goes on from here"))
        elif self.step == first:
            rows.append(("nothing to do", "raise config.train.steps to train on"))
        print(table(rows), flush=True)
        return self.step

    def due(self, every: int) -> bool:
        return self.step % every == 0

    def collect(self, keep: int) -> None:
        """Looks at the metrics of all but the last `keep` steps under way."""
        while len(self.pending) > keep:
            step, metrics = self.pending.popleft()
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            bad = [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]
            if bad:
                saved = f"the checkpoint of step {self.saved} is kept" if self.saved else "nothing was saved yet"
                raise DivergedError(
                    f"{' and '.join(bad)} at step {step} in {self.folder}; {saved}. "
                    "A lower config.optimizer.learning_rate or a longer warmup_steps may help"
                )
            asked = metrics.pop("stop")
            if asked and not self.stopped_by:
                self.stopped_by = signal.Signals(int(asked))
            self.sums["count"] = self.sums.get("count", 0) + 1
            for name, value in metrics.items():
                self.sums[name] = self.sums.get(name, 0.0) + value
            self.log.step(metrics["loss"])

    def write_scalars(self) -> None:
        self.collect(keep=0)
        count = self.sums.pop("count")
        means = {name: value / count for name, value in self.sums.items()}
        then, step = self.clock
        rate = (self.step - step) / (time.monotonic() - then)
        speed = {"steps_per_second": rate, "examples_per_second": rate * self.config.train.batch_size}
        self.log.scalars(self.step, means | speed)
        self.sums = {}
        self.clock = (time.monotonic(), self.step)

    def save(self) -> None:
        self.collect(keep=0)
        metrics = self.test_loss() if self.policy.needs_test_loss else {}
        progress = {
            "data": self.iterator.get_state(),
            "about": self.about,
            "examples": self.examples,
            "sums": self.sums,
        }
        if self.sums:
            metrics["loss"] = self.sums["loss"] / self.sums["count"]
        self.checkpoints.save(self.step, self.state, progress, workdir.plain(self.config), metrics)
        self.saved = self.step

    def test_loss(self) -> dict[str, float]:
        """The moving average's loss on test examples, whole global batches of them, taken in turn."""
        size = self.config.train.batch_size
        losses = []
        for start in range(0, max(self.config.checkpoint.test_examples // size, 1) * size, size):
            index = start + self.index
            examples = [self.test[int(i) % len(self.test)] for i in index]
            examples = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
            rows = Rows(examples, index, np.zeros(self.rows, np.float32))
            losses.append(float(self.measure(self.state.ema_params, parallel.split(rows))))
        self.log.scalars(self.step, {"test_loss": float(np.mean(losses))})
        return {"test_loss": float(np.mean(losses))}

    def preview(self) -> None:
        if not parallel.is_main():
            return
        config = self.config
        outputs = next(
            generate.generate(
                self.task,
                self.state.ema_params,
                sample_options(config.sample),
                num_samples=config.sample.batch_size,
                batch_size=config.sample.batch_size,
                seed=config.seed,
                images=self.images,
            )
        )
        path = self.folder / "samples" / f"step_{self.step:08d}"
        if self.tokenizer:
            texts = self.tokenizer.texts(outputs["tokens"])
            shown = [self.images[int(i)]["image"] for i in outputs["source"]] if self.config.encoder else None
            path = pictures.write_texts(path, texts, None if shown is None else np.stack(shown))
        else:
            path = pictures.write_preview(path, outputs, config.data.vocab_size, config.data.num_classes)
        self.log.message(f"samples at step {self.step}: {path}")


def define_flags() -> None:
    """Defines the command's flags."""
    config_flags.DEFINE_config_file("config", None, "The configuration file, with ':variant' behind it if wanted.")
    flags.DEFINE_string("workdir", None, "The folder of the run: made if it is not there, resumed if it is.")
    flags.mark_flags_as_required(["config", "workdir"])


def main() -> int:
    """The command."""
    progress = train(flags.FLAGS.config, Path(flags.FLAGS.workdir))
    return 128 + progress.signal if progress.signal else 0


if __name__ == "__main__":
    define_flags()
    commands.run(main)
