"""Schedules that were measured from a run (see `bitdiff.schedule`), read from its folder into a config."""

import json
from pathlib import Path

import ml_collections
import numpy as np

from bitdiff.runtime.errors import UsageError
from bitdiff.training import workdir

NAME = "schedule.json"


def with_measured_schedule(config: ml_collections.ConfigDict, folder: Path) -> ml_collections.ConfigDict:
    """A copy of the config with the training levels of config.diffusion.schedule_run, if it names a run.

    The levels are part of a run's config: a run that is resumed keeps its own, even if the schedule was measured again.

    Args:
      config: the configuration.
      folder: the workdir.

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
    stored = workdir.load_config(folder).diffusion if workdir.has_checkpoints(folder) else None
    if stored is not None and stored.schedule_run == options.schedule_run:
        config.diffusion.schedule_options.levels = stored.schedule_options.levels
    else:
        config.diffusion.schedule_options.levels = read_levels(Path(options.schedule_run).expanduser())
    return config


def sampling_levels(config: ml_collections.ConfigDict, folder: Path) -> tuple[float, ...]:
    """The levels of the sampling schedule 'measured': those of the run's schedule.json, its training levels, or none.

    Args:
      config: the config of a run that was trained at noise levels.
      folder: its workdir, or an exported model.

    Raises:
      UsageError: its schedule.json cannot be read.
    """
    if (folder / NAME).exists():
        return read_levels(folder)
    kept = config.sample.schedule_options.levels
    return kept or config.diffusion.schedule_options.levels


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
        raise UsageError(f"{folder} holds no {NAME}; run python -m bitdiff.schedule --workdir {folder}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{folder / NAME} cannot be read: {error}") from error
