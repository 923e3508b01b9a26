"""The training loop: steps, logging, checkpoints, previews, and stopping on a signal."""

import math
import signal
import time
from collections import deque
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np

from bitdiff.runtime import devices, processes
from bitdiff.runtime.console import table
from bitdiff.runtime.errors import DivergedError, SavingError
from bitdiff.runtime.interrupts import StopSignals
from bitdiff.runtime.memory import SAMPLING_ADVICE, TRAINING_ADVICE, advised
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints, Policy
from bitdiff.training.logs import NoLog, TrainLog
from bitdiff.training.previews import write_preview
from bitdiff.training.running_means import RunningMeans
from bitdiff.training.setup import Setup
from bitdiff.training.state import TrainState
from bitdiff.training.step import Rows, make_test_loss, make_train_step

_STEPS_IN_FLIGHT = 2  # steps that may be running before their metrics are read


class Progress(NamedTuple):
    """How training ended: the steps completed, and the signal that stopped it, if any."""

    step: int
    signal: signal.Signals | None


class Start(NamedTuple):
    """Where training starts: the state, the stream of batches at its position, and the metrics' running means."""

    state: TrainState
    batches: Any
    means: RunningMeans


class Loop:
    """One call of `train`: what changes from step to step, and where it is written."""

    def __init__(self, setup: Setup, start: Start, checkpoints: Checkpoints):
        config = setup.config
        self.setup, self.checkpoints = setup, checkpoints
        self.state, self.batches, self.means = start
        self.step = self.saved = self.first = int(self.state.step)
        self.stopped_by: signal.Signals | None = None
        self.in_flight: deque[tuple[int, Any]] = deque()
        self.logged_loss: float | None = None
        log = TrainLog if processes.is_main() else NoLog
        self.log = log(setup.folder, first_step=self.step, total_steps=config.train.steps)
        index, count = processes.processes()
        rows = config.train.batch_size // count
        self.rows = np.arange(index * rows, (index + 1) * rows, dtype=np.int32)
        self.logged_at = (time.monotonic(), self.step)

    def run(self, stop: StopSignals) -> Progress:
        """Trains until config.train.steps, a signal, or an error."""
        started = time.monotonic()
        train_step = self._compile()
        try:
            with advised(TRAINING_ADVICE):
                self._train(train_step, stop)
            if self.saved < self.step:
                self._save()
            self.checkpoints.wait()
        except OSError as error:
            self._rescue()
            place = f": {error.filename}" if error.filename else ""
            raise SavingError(f"{error.strerror or error}{place}; {self._kept()}") from error
        except (DivergedError, SavingError):
            raise
        except Exception:
            self._rescue()
            raise
        finally:
            self.log.close()
            self.checkpoints.close()
        self._report(time.monotonic() - started)
        return Progress(self.step, self.stopped_by)

    def _train(self, train_step: Callable, stop: StopSignals) -> None:
        while self.step < self.setup.config.train.steps and not self.stopped_by:
            if self.step == self.first:
                self._compile_by_training(train_step, stop)
            else:
                self._train_once(train_step, stop)
            self._write_what_is_due()

    def _rescue(self) -> None:
        """Saves a checkpoint after an error, such as a damaged example, so that the last steps are not lost.

        Does nothing if the state was lost in the failed step, or if there are several processes, since the others
        cannot take part.
        """
        lost = any(array.is_deleted() for array in jax.tree.leaves(self.state))
        if self.saved == self.step or lost or processes.processes()[1] > 1:
            return
        before = self.saved
        try:
            self._save()
            self.checkpoints.wait()
        except Exception:  # the error that stopped training is the one to report
            self.saved = before

    def _kept(self) -> str:
        return f"the checkpoint of step {self.saved} is kept" if self.saved else "nothing has been saved yet"

    def _compile(self) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
        config = self.setup.config
        return make_train_step(
            self.setup.task,
            self.setup.optimizer,
            ema_decay=config.optimizer.ema_decay,
            accumulate=config.train.accumulate,
            key=self.setup.run_key,
        )

    def _compile_by_training(self, train_step: Callable, stop: StopSignals) -> None:
        """Runs the first step, which compiles; the log's timing starts after it."""
        with self.log.announced("compiling the training step"):
            self._train_once(train_step, stop)
            jax.block_until_ready(self.state)
        self.log.start_clock()
        self.logged_at = (time.monotonic(), self.step)

    def _train_once(self, train_step: Callable, stop: StopSignals) -> None:
        received = np.full(len(self.rows), stop.received or 0, np.float32)
        rows = Rows(next(self.batches), self.rows, received)
        self.state, metrics = train_step(self.state, devices.split(rows))
        self.step += 1
        self.in_flight.append((self.step, metrics))
        self._collect(keep=_STEPS_IN_FLIGHT)
        if stop.received and processes.processes()[1] == 1:
            self.stopped_by = stop.received  # several processes stop together, when the step returns the signal

    def _write_what_is_due(self) -> None:
        config = self.setup.config
        last = self.step == config.train.steps
        if self.step % config.train.log_every_steps == 0:
            self._write_scalars()
        if last or self.step % config.checkpoint.every_steps == 0:
            self._save()
        every = config.train.sample_every_steps
        if every and (last or self.step % every == 0) and processes.is_main():
            with self.log.announced(f"drawing a preview at step {self.step}"), advised(SAMPLING_ADVICE):
                path = write_preview(self.setup, self.state.ema_params, self.step)
            self.log.message(f"samples at step {self.step}: {path}")

    def _collect(self, keep: int) -> None:
        """Reads the metrics of all but the last `keep` steps in flight.

        Raises:
          DivergedError: a metric is not finite.
        """
        while len(self.in_flight) > keep:
            step, metrics = self.in_flight.popleft()
            metrics = {name: float(value) for name, value in jax.device_get(metrics).items()}
            bad = [f"{name} is {value}" for name, value in metrics.items() if not math.isfinite(value)]
            if bad:
                raise DivergedError(
                    f"{' and '.join(bad)} at step {step} in {self.setup.folder}; {self._kept()}. "
                    "A lower config.optimizer.learning_rate or a longer warmup_steps may help"
                )
            received = metrics.pop("stop")
            if received and not self.stopped_by:
                self.stopped_by = signal.Signals(int(received))
            self.means.add(metrics)
            self.log.step(metrics["loss"])

    def _write_scalars(self) -> None:
        self._collect(keep=0)
        then, step = self.logged_at
        rate = (self.step - step) / (time.monotonic() - then)
        speed = {"steps_per_second": rate, "examples_per_second": rate * self.setup.config.train.batch_size}
        means = self.means.mean()
        self.log.scalars(self.step, means | speed)
        self.logged_loss = means.get("loss")
        self.means.reset()
        self.logged_at = (time.monotonic(), self.step)

    def _save(self) -> None:
        self._collect(keep=0)
        metrics = {}
        if Policy.of(self.setup.config.checkpoint).needs_test_loss:
            metrics["test_loss"] = self._test_loss()
            self.log.scalars(self.step, metrics)
        loss = self.means.mean().get("loss", self.logged_loss)  # the means are empty right after a log line
        metrics |= {} if loss is None else {"loss": loss}
        progress = {
            "data": self.batches.get_state(),
            "about": self.setup.dataset.about,
            "examples": len(self.setup.dataset.train),
            "sums": self.means.sums,
        }
        self.checkpoints.save(self.step, self.state, progress, workdir.plain(self.setup.config), metrics)
        self.saved = self.step

    @cached_property
    def _measure(self) -> Callable[[Any, Rows], jax.Array]:
        return make_test_loss(self.setup.task, self.setup.run_key)

    def _test_loss(self) -> float:
        """The loss of the moving average on test examples, in whole global batches, cycling through them."""
        config, test = self.setup.config, self.setup.dataset.test
        size = config.train.batch_size
        losses = []
        for start in range(0, max(config.checkpoint.test_examples // size, 1) * size, size):
            index = start + self.rows
            examples = [test[int(i) % len(test)] for i in index]
            batch = {name: np.stack([example[name] for example in examples]) for name in examples[0]}
            rows = Rows(batch, index, np.zeros(len(index), np.float32))
            losses.append(float(self._measure(self.state.ema_params, devices.split(rows))))
        return float(np.mean(losses))

    def _report(self, seconds: float) -> None:
        steps = self.setup.config.train.steps
        rows = [
            ("steps", f"{self.step:,} of {steps:,}, {self.step - self.first:,} in this call"),
            ("time", f"{seconds:.1f} s, including compilation"),
            ("checkpoint", f"step {self.saved} in {self.checkpoints.folder}"),
        ]
        if self.stopped_by:
            rows.insert(0, ("stopped", f"by {self.stopped_by.name}; the same command resumes from here"))
        elif self.step == self.first:
            rows.append(("nothing to do", "raise config.train.steps to train further"))
        print(table(rows), flush=True)
