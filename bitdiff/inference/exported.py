"""An exported model: one folder with config.json, weights.safetensors and a model card, to be shared."""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.files import write, write_text

_WEIGHTS = "weights.safetensors"


class Export(NamedTuple):
    """The content of an exported model.

    config: the resolved config, as plain JSON, without paths of this machine.
    params: the moving average of the weights.
    step: their training step.
    card: the text of the model card, README.md.
    evaluation: a report of `bitdiff.evaluate`, or None.
    tokenizer: the content of tokenizer.model, or None.
    """

    config: dict[str, Any]
    params: Any
    step: int
    card: str
    evaluation: dict[str, Any] | None
    tokenizer: bytes | None


def is_export(folder: Path) -> bool:
    """Whether a folder holds an exported model."""
    return (folder / _WEIGHTS).is_file()


def digest(folder: Path) -> str:
    """The start of the SHA-256 hash of an exported model's weights."""
    with (folder / _WEIGHTS).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def write_export(folder: Path, content: Export) -> None:
    """Writes an exported model.

    Args:
      folder: the folder to create; it must be empty or hold an export.
      content: what it holds.

    Raises:
      UsageError: the folder holds other files, or cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()) and not is_export(folder):
            raise UsageError(f"--out: {folder} holds other files; it must be empty or a new folder")
        flat = traverse_util.flatten_dict(jax.device_get(content.params), sep="/")
        arrays = {name: np.ascontiguousarray(array) for name, array in flat.items()}
        weights = save(arrays, metadata={"step": str(content.step)})
        write_text(folder / "config.json", json.dumps(content.config, indent=2) + "\n")
        write_text(folder / "README.md", content.card)
        if content.evaluation is not None:
            write_text(folder / "evaluation.json", json.dumps(content.evaluation, indent=2) + "\n")
        if content.tokenizer is not None:
            write(folder / "tokenizer.model", lambda file: file.write(content.tokenizer or b""))
        write(folder / _WEIGHTS, lambda file: file.write(weights))
    except OSError as error:
        raise UsageError(f"--out: {folder} cannot be written to ({error.strerror})") from error


def read_weights(folder: Path, abstract: Any) -> tuple[Any, int]:
    """The parameters of an exported model and their training step.

    Args:
      folder: the exported model.
      abstract: the shapes of the parameters, from `jax.eval_shape`.

    Raises:
      UsageError: the file is damaged, or its arrays do not fit the config.
    """
    path = folder / _WEIGHTS
    try:
        with safe_open(path, framework="numpy") as file:
            step = int((file.metadata() or {})["step"])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from error
    expected: dict[str, Any] = traverse_util.flatten_dict(abstract, sep="/")
    different = sorted(
        name
        for name in arrays.keys() | expected.keys()
        if name not in arrays or name not in expected or arrays[name].shape != expected[name].shape
    )
    if different:
        raise UsageError(f"the weights in {path} do not fit its config.json: {', '.join(different[:3])} differ")
    return traverse_util.unflatten_dict(arrays, sep="/"), step
