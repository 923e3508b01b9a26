"""Schedules that were measured from a run (see `bitdiff.schedule`), read from its folder into a config."""

import json
from pathlib import Path

import ml_collections
import numpy as np

from bitdiff.runtime.errors import UsageError

NAME = "schedule.json"


def with_measured_schedule(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """A copy of the config with the training levels of config.diffusion.schedule_run, if it names a run.

    The levels are part of the config, so a resumed run does not read the file again.

    Raises:
      UsageError: the run has no readable schedule, or the schedule is not 'measured'.
    """
    options = config.diffusion
    if not options.schedule_run:
        return config
    if options.schedule != "measured":
        raise UsageError(
            f"config.diffusion.schedule_run is {options.schedule_run!r}, but config.diffusion.schedule is "
            f"{options.schedule!r}; it must be 'measured'"
        )
    config = config.copy_and_resolve_references()
    config.diffusion.schedule_options.levels = read_levels(Path(options.schedule_run).expanduser())
    return config


def read_levels(folder: Path) -> tuple[float, ...]:
    """The levels in a run's schedule.json.

    Raises:
      UsageError: there is none, or it cannot be read.
    """
    try:
        levels = np.asarray(json.loads((folder / NAME).read_text())["levels"], np.float64)
        if levels.ndim != 1 or len(levels) < 2 or not np.all(np.diff(levels) < 0):
            raise ValueError("levels must decrease")
        return tuple(levels.tolist())
    except FileNotFoundError as error:
        raise UsageError(f"{folder} holds no {NAME}; write it with: python -m bitdiff.schedule --workdir") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / NAME} cannot be read: {error}") from error
