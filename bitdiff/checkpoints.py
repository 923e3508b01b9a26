"""Checkpoints (Orbax): the training state, the position in the data, and the config.

Saving is asynchronous and a checkpoint counts only once it is whole. A checkpoint that cannot be read
is passed over for the one before it, aloud; a training run that goes on from there moves the damaged
one aside as `N.damaged` instead of writing over it.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import orbax.checkpoint as ocp

from bitdiff import parallel
from bitdiff.errors import UsageError

_log = logging.getLogger(__name__)
_ITEMS = ("state", "progress", "config")


class Restored(NamedTuple):
    """A checkpoint's content: `progress` and `config` are plain JSON."""

    step: int
    state: Any
    progress: dict[str, Any]
    config: dict[str, Any]


class Checkpoints:
    """The checkpoints of a run, in the folder `checkpoints` of its workdir."""

    def __init__(self, workdir: Path, *, keep: int = 1, read_only: bool = False):
        """Opens the folder; made if it is not there, unless read_only.

        Args:
          workdir: of the run.
          keep: how many of the latest checkpoints are kept.
          read_only: nothing is written, moved or deleted.
        """
        if keep < 1:
            raise UsageError(f"config.checkpoint.keep is {keep}; at least one checkpoint must be kept")
        self.folder = Path(workdir).absolute() / "checkpoints"
        self._keep, self._read_only = keep, read_only
        if read_only and not self.folder.is_dir():
            raise UsageError(f"{workdir} holds no checkpoints; is it the --workdir of a training run?")
        self._manager = self._open()

    def _open(self) -> ocp.CheckpointManager:
        if self._read_only:
            options = ocp.CheckpointManagerOptions(read_only=True)
        else:
            options = ocp.CheckpointManagerOptions(max_to_keep=self._keep, cleanup_tmp_directories=True)
        return ocp.CheckpointManager(self.folder, options=options, item_names=_ITEMS)

    def save(self, step: int, state: Any, progress: dict[str, Any], config: dict[str, Any]) -> None:
        """Starts saving; returns once the state may be donated. Waits for the save before it."""
        self._manager.save(
            step,
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                progress=ocp.args.JsonSave(progress),
                config=ocp.args.JsonSave(config),
            ),
        )

    def steps(self) -> list[int]:
        """The steps of the finished checkpoints, in order."""
        return sorted(self._manager.all_steps())

    def restore_latest(self, abstract_state: Any, progress_fields: Sequence[str] = ()) -> Restored | None:
        """The latest checkpoint that can be read, or None if there are no checkpoints.

        Args:
          abstract_state: the shapes of the state, e.g. from `jax.eval_shape`.
          progress_fields: what `progress` must hold.

        Raises:
          UsageError: there are checkpoints, but none can be read.
        """
        steps = self.steps()
        damaged = []
        for step in reversed(steps):
            try:
                restored = self._manager.restore(
                    step,
                    args=ocp.args.Composite(
                        state=ocp.args.StandardRestore(parallel.abstract_replicated(abstract_state)),
                        progress=ocp.args.JsonRestore(),
                        config=ocp.args.JsonRestore(),
                    ),
                )
                if not isinstance(restored.progress, dict) or not set(progress_fields) <= set(restored.progress):
                    raise ValueError(f"its progress lacks some of {', '.join(progress_fields)}")
            except Exception as error:  # whatever Orbax and TensorStore make of damaged files
                reason = " ".join(str(error).split())[:200]
                _log.warning("the checkpoint %s cannot be read (%s)", self.folder / str(step), reason)
                damaged.append(step)
                continue
            if damaged:
                _log.warning("going back to the checkpoint of step %d", step)
                self._set_aside(damaged)
            return Restored(step, restored.state, restored.progress, restored.config)
        if steps:
            raise UsageError(
                f"none of the checkpoints {steps} in {self.folder} can be read with this config; "
                "the reasons are logged above, and nothing was changed"
            )
        return None

    def restore_config(self) -> dict[str, Any] | None:
        """The config of the latest checkpoint that has a readable one."""
        for step in reversed(self.steps()):
            try:
                return self._manager.restore(step, args=ocp.args.Composite(config=ocp.args.JsonRestore())).config
            except Exception as error:
                _log.warning("the config in %s cannot be read (%s)", self.folder / str(step), error)
        return None

    def wait(self) -> None:
        """Waits until the last save is finished."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Finishes what is being saved."""
        self._manager.close()

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _set_aside(self, steps: list[int]) -> None:
        if self._read_only:
            return
        self._manager.close()
        for step in steps:
            source = self.folder / str(step)
            place = source.with_name(f"{step}.damaged")
            number = 1
            while place.exists():
                number += 1
                place = source.with_name(f"{step}.damaged{number}")
            source.rename(place)
            _log.warning("moved the damaged checkpoint to %s", place)
        self._manager = self._open()
