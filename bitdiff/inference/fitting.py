"""Training from Python: a config and a data set in, a trained model out."""

import tempfile
from pathlib import Path

import ml_collections

from bitdiff.data import Dataset
from bitdiff.inference.trained import Trained, load
from bitdiff.tasks import Task
from bitdiff.training.trainer import train


def fit(
    config: ml_collections.ConfigDict,
    dataset: Dataset | None = None,
    *,
    task: Task | None = None,
    workdir: str | Path | None = None,
) -> Trained:
    """Trains a model and opens it.

    Args:
      config: the configuration; sizes of 0 are taken from the data.
      dataset: the data set, e.g. from `bitdiff.data.from_arrays`; by default the one that config.data describes.
      task: the model, in place of the one that the config describes.
      workdir: the folder of the run, in which training resumes; by default a temporary one, which is deleted.

    Raises:
      UsageError: bad input, before anything is compiled.
      DivergedError: the loss or its gradient is not finite.
      KeyboardInterrupt: a signal stopped training; with a workdir, the same call resumes.
    """
    with tempfile.TemporaryDirectory(prefix="bitdiff_") as temporary:
        folder = Path(temporary if workdir is None else workdir)
        progress = train(config, folder, dataset=dataset, task=task)
        if progress.signal is not None:
            raise KeyboardInterrupt(f"training was stopped by {progress.signal.name} at step {progress.step}")
        model = load(folder, task=task)
        if workdir is not None:
            return model
        model.config.data.tokenizer = config.data.tokenizer  # not the copy in the temporary folder
        return model._replace(folder=None)
