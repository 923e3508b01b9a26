"""Configurations by name: `digits:gray` is the variant `gray` of the config file `digits.py` that bitdiff ships."""

import importlib
import importlib.util
import re
from pathlib import Path

import ml_collections

from bitdiff.runtime.errors import UsageError


def names() -> list[str]:
    """The names of the configurations that bitdiff ships."""
    return sorted(path.stem for folder in _folders() for path in folder.glob("*.py") if path.stem != "__init__")


def config_file(text: str) -> str:
    """The value of a --config flag with a name replaced by its file: 'digits:gray' -> '.../digits.py:gray'.

    Paths to files are returned unchanged.

    Raises:
      UsageError: there is neither such a file nor such a name.
    """
    name, colon, variant = text.partition(":")
    if Path(name).is_file():
        return text
    for folder in _folders():
        if re.fullmatch(r"\w+", name) and name != "__init__" and (folder / f"{name}.py").is_file():
            return f"{folder / name}.py{colon}{variant}"
    raise UsageError(f"there is no config file or config named {name}; valid names are: {', '.join(names())}")


def load_config(text: str) -> ml_collections.ConfigDict:
    """Loads a configuration by name or file, with an optional variant: 'digits', 'digits:gray', 'my.py:large'.

    Raises:
      UsageError: there is neither such a file nor such a name, or no such variant.
    """
    path, _, variant = config_file(text).partition(":")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    try:
        return module.get_config(variant) if variant else module.get_config()
    except ValueError as error:
        raise UsageError(str(error)) from error


def _folders() -> list[Path]:
    return [Path(folder) for folder in importlib.import_module("bitdiff.configs").__path__]
