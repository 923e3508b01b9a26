"""Exporting a trained model to a folder that can be shared."""

from pathlib import Path
from typing import Any

import ml_collections
from clu import parameter_overview

from bitdiff.inference.exported import Export, write_export
from bitdiff.inference.model_card import model_card, read_evaluation
from bitdiff.inference.trained import Trained
from bitdiff.runtime.errors import UsageError
from bitdiff.training import workdir

_PATHS = ("data.path", "data.tokenizer", "data.distilled", "encoder.weights", "diffusion.schedule_run", "first_run")


def export_model(run: Trained, folder: Path) -> int:
    """Writes a model's config without paths, its weights, and a model card; returns the number of parameters.

    Args:
      run: the model.
      folder: the folder to create.

    Raises:
      UsageError: the folder holds other files or cannot be written to, or the weights are not the moving average.
    """
    if run.weights != "ema":
        raise UsageError(f"the model was opened with weights {run.weights!r}; only the moving average can be exported")
    config, params = _sampled_part(run)
    parameters = parameter_overview.count_parameters(params)
    evaluation = None if run.folder is None else read_evaluation(run.folder)
    if evaluation is not None:
        evaluation["provenance"].pop("workdir", None)
    content = Export(
        config=_without_paths(workdir.plain(config)),
        params=params,
        step=run.step,
        card=model_card(folder.name, run.config, run.step, parameters, evaluation),
        evaluation=evaluation,
        tokenizer=None if run.tokenizer is None else run.tokenizer.to_bytes(),
    )
    write_export(folder, content)
    return parameters


def _sampled_part(run: Trained) -> tuple[ml_collections.ConfigDict, Any]:
    """The config and the parameters that sampling requires: a student is exported as a model like its first teacher."""
    if run.config.task != "distillation":
        return run.config, run.params
    config = run.config.first.copy_and_resolve_references()
    own = {name: run.config[name] for name in ("seed", "network", "encoder", "sample", "evaluate")}
    config.update(own)
    return config, run.params["student"]


def _without_paths(config: dict[str, Any]) -> dict[str, Any]:
    """Clears the paths in a config and in those of the runs it starts from; returns the same, changed config."""
    for name in _PATHS:
        *sections, field = name.split(".")
        section = config.get(sections[0], {}) if sections else config
        if section.get(field):
            section[field] = ""
    if config.get("first"):
        _without_paths(config["first"])
    return config
