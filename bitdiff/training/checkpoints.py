"""Checkpoints (Orbax): the training state, the position in the data, and the config.

Saving is asynchronous, and a checkpoint counts only once it is complete. A checkpoint that cannot be read
is skipped with a warning, and the one before it is used; a training run that resumes from there moves the
damaged one aside as `N.damaged` instead of overwriting it.
"""

import copy
import json
import logging
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as managers

from bitdiff.runtime import devices, processes
from bitdiff.runtime.errors import SavingError, UsageError

_log = logging.getLogger(__name__)
_ITEMS = ("state", "progress", "config", "digest")


class Policy(NamedTuple):
    """Which checkpoints are kept.

    keep: number of latest checkpoints kept; 1 or more.
    keep_every_steps: checkpoints at multiples of this step are kept for good; 0 for none.
    keep_best: number of checkpoints with the lowest best_metric that are kept; 0 for none.
    best_metric: 'test_loss' or 'loss'.
    """

    keep: int = 1
    keep_every_steps: int = 0
    keep_best: int = 0
    best_metric: str = "loss"

    @classmethod
    def of(cls, options: Any) -> "Policy":
        """The policy of a config's `checkpoint` section."""
        return cls(*(options[name] for name in cls._fields))

    @property
    def needs_test_loss(self) -> bool:
        """Whether the loss on test examples must be measured before saving."""
        return self.keep_best > 0 and self.best_metric == "test_loss"


class Restored(NamedTuple):
    """The content of a checkpoint; `progress` and `config` are plain JSON."""

    step: int
    state: Any
    progress: dict[str, Any]
    config: dict[str, Any]


class _Best(NamedTuple):
    """An Orbax policy that keeps the steps with the lowest values; Orbax's own forgets the values on restart."""

    values: dict[int, float]
    count: int

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        """Which of the checkpoints are kept."""
        del context
        steps = [checkpoint.step for checkpoint in checkpoints if checkpoint.step in self.values]
        best = sorted(steps, key=lambda step: self.values[step])[: self.count]
        return [checkpoint.step in best for checkpoint in checkpoints]


class Checkpoints:
    """The checkpoints of a run, in the folder `checkpoints` of its workdir."""

    def __init__(self, workdir: Path, *, policy: Policy | None = None, read_only: bool = False):
        """Opens the folder, and creates it unless read_only.

        Args:
          workdir: the folder of the run.
          policy: which checkpoints are kept; by default the latest.
          read_only: whether nothing may be written, moved or deleted.
        """
        self.folder = Path(workdir).absolute() / "checkpoints"
        self._policy, self._read_only = policy or Policy(), read_only
        if read_only and not self.folder.is_dir():
            raise UsageError(f"{workdir} holds no checkpoints; is it the --workdir of a training run?")
        self._values: dict[int, float] = {}  # values of the best metric, by step
        self._manager = self._open()
        if self._policy.keep_best:
            self._values |= self._read_values(self._policy.best_metric)

    def _open(self) -> ocp.CheckpointManager:
        if self._read_only:
            options = ocp.CheckpointManagerOptions(read_only=True, save_interval_steps=0, create=False)
        else:
            policies: list[Any] = [managers.LatestN(self._policy.keep)]
            if self._policy.keep_every_steps:
                policies.append(managers.EveryNSteps(self._policy.keep_every_steps))
            if self._policy.keep_best:
                policies.append(_Best(self._values, self._policy.keep_best))
            options = ocp.CheckpointManagerOptions(
                preservation_policy=managers.AnyPreservationPolicy(policies), cleanup_tmp_directories=True
            )
        return ocp.CheckpointManager(self.folder, options=options, item_names=_ITEMS)

    def save(
        self,
        step: int,
        state: Any,
        progress: dict[str, Any],
        config: dict[str, Any],
        metrics: dict[str, float] | None = None,
    ) -> None:
        """Starts saving and returns once the state may be donated; waits for the previous save first.

        Raises:
          SavingError: this save or the previous one failed.
        """
        metrics = metrics or {}
        # Copied, since they are written after this returns, when the caller may have changed them.
        progress, config = copy.deepcopy((progress | {"metrics": metrics}, config))
        if self._policy.best_metric in metrics:
            self._values[step] = metrics[self._policy.best_metric]
        content = ocp.args.Composite(
            state=ocp.args.StandardSave(devices.to_global(state)),
            progress=ocp.args.JsonSave(progress),
            config=ocp.args.JsonSave(config),
            digest=ocp.args.JsonSave(_digest(state, progress, config)),
        )
        with self._saving():
            self._manager.save(step, args=content)

    def steps(self) -> list[int]:
        """The steps of the finished checkpoints, in ascending order."""
        return sorted(self._manager.all_steps())

    def choose(self, name: str, metric: str) -> int:
        """The step that a number names, or 'best': the one with the lowest `metric`.

        Raises:
          UsageError: there is no such checkpoint, or none with that metric.
        """
        steps = self.steps()
        if name != "best":
            if not name.isdigit() or int(name) not in steps:
                raise UsageError(f"there is no checkpoint {name!r} in {self.folder}; there are: best, {steps}")
            return int(name)
        values = self._read_values(metric)
        if not values:
            raise UsageError(
                f"no checkpoint in {self.folder} has the metric {metric!r}, needed for --checkpoint best; train "
                "with config.checkpoint.keep_best above 0"
            )
        return min(values, key=lambda step: values[step])

    def _read_values(self, metric: str) -> dict[int, float]:
        values = {}
        for step in self.steps():
            try:
                progress = self._restore(step, progress=ocp.args.JsonRestore()).progress
                values[step] = float(progress["metrics"][metric])
            except Exception as error:  # the checkpoint is damaged, or was saved without the metric
                _log.debug("the checkpoint of step %d has no %s (%s)", step, metric, error)
        return values

    def restore(
        self, abstract_state: Any, progress_fields: Sequence[str] = (), *, step: int | None = None
    ) -> Restored | None:
        """The latest checkpoint that can be read, or None if there are no checkpoints.

        Args:
          abstract_state: the shapes of the state, e.g. from `jax.eval_shape`.
          progress_fields: the fields that `progress` must hold.
          step: the checkpoint to read, instead of the latest.

        Raises:
          UsageError: there are checkpoints, but none can be read.
        """
        steps = self.steps() if step is None else [step]
        processes.check_equal("the checkpoints in the folder", steps)
        damaged: list[int] = []
        for candidate in reversed(steps):
            restored = self._try(candidate, abstract_state, progress_fields)
            if restored is None:
                damaged.append(candidate)
                continue
            if damaged:
                _log.warning("using the checkpoint of step %d instead", candidate)
                self._set_aside(damaged)
            return restored
        if steps:
            raise UsageError(
                f"none of the checkpoints {steps} in {self.folder} can be read with this config; "
                "the reasons are logged above, and nothing was changed"
            )
        return None

    def _restore(self, step: int, **items: Any) -> Any:
        """The items of a checkpoint, by name."""
        return self._manager.restore(step, args=ocp.args.Composite(**items))

    def _try(self, step: int, abstract_state: Any, progress_fields: Sequence[str]) -> Restored | None:
        """A checkpoint's content; None, with a warning, if any process cannot read it."""
        failure, restored = None, None
        try:
            content = self._restore(
                step,
                state=ocp.args.StandardRestore(devices.abstract_replicated(abstract_state)),
                progress=ocp.args.JsonRestore(),
                config=ocp.args.JsonRestore(),
                digest=ocp.args.JsonRestore(),
            )
            restored = Restored(step, devices.to_local(content.state), content.progress, content.config)
            if content.digest != _digest(restored.state, restored.progress, restored.config):
                raise ValueError("its content differs from what was saved")
            if not isinstance(restored.progress, dict) or not set(progress_fields) <= set(restored.progress):
                raise ValueError(f"its progress lacks some of {', '.join(progress_fields)}")
        except Exception as error:  # Orbax and TensorStore raise many kinds for damaged files
            failure = " ".join(str(error).split())[:200]
        if not processes.any_process(failure is not None):
            return restored
        reason = failure or "another process could not read it"
        _log.warning("the checkpoint %s cannot be read (%s)", self.folder / str(step), reason)
        return None

    def restore_config(self) -> dict[str, Any] | None:
        """The config of the latest checkpoint that has a readable one; `restore` reports those that have none."""
        for step in reversed(self.steps()):
            try:
                names = ("progress", "config", "digest")
                content = self._restore(step, **{name: ocp.args.JsonRestore() for name in names})
                if content.digest["json"] != _json_digest(content.progress, content.config):
                    raise ValueError("its content differs from what was saved")
                return content.config
            except Exception as error:
                _log.debug("the config in %s cannot be read (%s)", self.folder / str(step), error)
        return None

    def wait(self) -> None:
        """Waits until the last save is finished."""
        with self._saving():
            self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes the save in progress and closes the manager."""
        with self._saving():
            self._manager.close()

    @contextmanager
    def _saving(self) -> Iterator[None]:
        """Turns what Orbax raises, for this save or the previous one, into a SavingError that lists what is intact."""
        try:
            yield
        except Exception as error:  # a full disk or a lost mount raises many kinds
            lost = _runtime_error(error)
            if processes.is_joined() and lost:
                raise lost from None  # another process is gone; this one only noticed while saving
            intact = sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdigit())
            raise SavingError(
                f"a checkpoint could not be written to {self.folder}: {' '.join(str(error).split())[-300:]}\n"
                f"The checkpoints of steps {intact} are intact; the same command resumes from there once there is room"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_aside(self, steps: list[int]) -> None:
        if self._read_only:
            return
        self._manager.close()
        for step in steps if processes.is_main() else ():
            source = self.folder / str(step)
            place = source.with_name(f"{step}.damaged")
            number = 1
            while place.exists():
                number += 1
                place = source.with_name(f"{step}.damaged{number}")
            source.rename(place)
            _log.warning("moved the damaged checkpoint to %s", place)
        processes.wait_for_all("damaged checkpoints were moved aside")
        self._manager = self._open()


def _digest(state: Any, progress: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    """Checksums of a checkpoint: Orbax detects missing and truncated files, but not flipped bits."""
    with ThreadPoolExecutor() as pool:  # crc32 releases the interpreter lock
        sums = list(pool.map(_sum, jax.tree.leaves(jax.device_get(state))))
    return {"state": sums, "json": _json_digest(progress, config)}


def _json_digest(progress: dict[str, Any], config: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps([progress, config], sort_keys=True).encode())


def _runtime_error(error: BaseException | None) -> jax.errors.JaxRuntimeError | None:
    """The error of jax's runtime that is this error or caused it, if there is one."""
    while error is not None and not isinstance(error, jax.errors.JaxRuntimeError):
        if "Gloo" in str(error):  # the CPU collectives; Orbax may pass on only their message
            return jax.errors.JaxRuntimeError(str(error))
        error = error.__cause__ or error.__context__
    return error


def _sum(array: np.ndarray) -> int:
    return zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
