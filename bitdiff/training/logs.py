"""The metrics of a training run: a progress bar, `metrics.jsonl`, and TensorBoard files."""

import json
import sys
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter

from bitdiff.runtime import files
from bitdiff.runtime.console import announced, progress_bar


class TrainLog:
    """Writes the metrics of a run; a resumed run drops the lines it is about to repeat."""

    def __init__(self, workdir: Path, *, first_step: int, total_steps: int):
        """Opens the files in `workdir` for the steps after `first_step`."""
        self._path = workdir / "metrics.jsonl"
        if self._path.exists():
            lines = self._path.read_text(errors="replace").splitlines()  # drops damaged lines, like truncated ones
            files.write_text(self._path, "".join(line + "\n" for line in lines if _step_of(line) <= first_step))
        self._file = self._path.open("a")
        self._board = SummaryWriter(str(workdir / "tensorboard"), purge_step=first_step + 1 if first_step else None)
        self._bar = progress_bar("training", "step", total=total_steps, initial=first_step)

    def step(self, loss: float) -> None:
        """Advances the progress bar by one step."""
        self._bar.set_postfix_str(f"loss {loss:.4f}", refresh=False)
        with suppress(OSError):  # the terminal, or the program that reads the output, is gone
            self._bar.update()

    def announced(self, text: str) -> AbstractContextManager[None]:
        """Prints, above the progress bar, what is about to run without output, and how long it took."""
        self._bar.clear()
        return announced(text)

    def start_clock(self) -> None:
        """Excludes the time so far from the bar's rate and remaining time."""
        self._bar.unpause()

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Records the metrics of a step.

        Raises:
          OSError: they cannot be written; the error names the file.
        """
        try:
            self._file.write(json.dumps({"step": step, **values}) + "\n")
            self._file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self._path)) from error
        if self._board_works():
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def message(self, text: str) -> None:
        """Prints a line above the progress bar."""
        with suppress(OSError):
            self._bar.clear()
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Closes the bar and the files."""
        with suppress(OSError):
            self._bar.close()
        with suppress(OSError):  # reported when the line was written
            self._file.close()
        if self._board_works():
            self._board.close()

    def _board_works(self) -> bool:
        """Whether TensorBoard's files are still written: that thread ends when the disk is full, and then blocks."""
        writer = self._board.file_writer
        return writer is not None and writer.event_writer._worker.is_alive()


class NoLog:
    """A TrainLog that writes nothing, for all processes but the first."""

    def __init__(self, workdir: Path, *, first_step: int, total_steps: int):
        del workdir, first_step, total_steps

    def step(self, loss: float) -> None:
        """Does nothing."""

    def announced(self, text: str) -> AbstractContextManager[None]:
        """Does nothing."""
        del text
        return nullcontext()

    def start_clock(self) -> None:
        """Does nothing."""

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Does nothing."""

    def message(self, text: str) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


def _step_of(line: str) -> Any:
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")  # a line truncated by a kill
