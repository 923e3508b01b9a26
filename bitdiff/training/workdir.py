"""The files of a run's workdir besides its checkpoints: the config, and the tokenizer if there is one."""

import json
import re
from pathlib import Path
from typing import Any

import ml_collections

from bitdiff.configuration.checking import CUSTOM, check_config
from bitdiff.configuration.upgrades import upgraded
from bitdiff.data import tokenizer
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.files import write, write_text
from bitdiff.training.checkpoints import Checkpoints

_URL = re.compile(r"\w+:/")  # pathlib drops one of the slashes of gs://

# Fields that may change when a run is resumed: they do not affect what is trained from there on, except that the
# learning rate follows the schedule of the new train.steps.
_CHANGEABLE = (
    "train.steps",
    "train.accumulate",
    "network.remat",
    "encoder.remat",
    "train.log_every_steps",
    "train.sample_every_steps",
    "checkpoint.",
    "sample.",
    "evaluate.",
    "data.prefetch_batches",
    "data.path",
    "data.tokenizer",
    "encoder.weights",
    "diffusion.schedule_run",
    "first_run",
    "prior.sample.",
)


def plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """A config as it would come back from JSON: dicts, lists, numbers and strings."""
    return json.loads(json.dumps(config.to_dict()))


def save_config(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Writes workdir/config.json."""
    write_text(workdir / "config.json", json.dumps(plain(config), indent=2) + "\n")


def load_config(workdir: Path) -> ml_collections.ConfigDict:
    """The config of a run, from workdir/config.json, or from its latest checkpoint if that file is missing.

    Raises:
      UsageError: there is no such folder or no run in it, its config cannot be read or has an invalid field, or
        config.json and the checkpoint disagree about a field that affects what is trained.
    """
    if not workdir.is_dir():
        raise UsageError(f"there is no folder {workdir}; it must be the workdir of a run")
    path, saved = workdir / "config.json", None
    if (workdir / "checkpoints").is_dir():
        with Checkpoints(workdir, read_only=True) as checkpoints:
            saved = checkpoints.restore_config()
    if path.exists():
        config = _read_config(path)
        if saved is not None:
            _check_saved(path, config, _checked(workdir / "checkpoints", saved))
        return config
    if not (workdir / "checkpoints").is_dir():
        raise UsageError(f"{workdir} holds no bitdiff run: it has neither config.json nor checkpoints")
    if saved is None:
        raise UsageError(f"{workdir} holds no config.json, and no checkpoint with a readable config")
    return _checked(workdir / "checkpoints", saved)


def _read_config(path: Path) -> ml_collections.ConfigDict:
    """Reads and checks the config in a file."""
    advice = "delete it to use the copy in the checkpoints"
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}; {advice}") from error
    try:
        return _checked(path, content)
    except UsageError as error:
        raise UsageError(f"{error}; {advice}") from error


def _checked(where: Path, content: Any) -> ml_collections.ConfigDict:
    """A config as it is stored in `where`, after a check of its fields."""
    try:
        content = upgraded(content)
        custom = isinstance(content, dict) and content.get("network") == {"name": CUSTOM}
        check_config(content, extra=custom)
        return ml_collections.ConfigDict(content)
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from error


def _check_saved(path: Path, config: ml_collections.ConfigDict, saved: ml_collections.ConfigDict) -> None:
    changes = _differences(trained_fields(saved), trained_fields(config), "in the checkpoint", "in this file")
    if changes:
        raise UsageError(
            f"{path} was edited after the checkpoint was saved; delete it to use the copy in the checkpoint, or undo "
            "these changes:\n" + "\n".join(changes)
        )


def save_tokenizer(workdir: Path, pieces: Tokenizer) -> None:
    """Writes workdir/tokenizer.model, so that sampling needs only this folder."""
    write(workdir / "tokenizer.model", lambda file: file.write(pieces.to_bytes()))


def load_tokenizer(workdir: Path, config: ml_collections.ConfigDict) -> Tokenizer | None:
    """The tokenizer of a run; None if its data are not text.

    Raises:
      UsageError: it is missing, damaged, or not the one that the run was trained with.
    """
    if not config.data.tokenizer_hash:
        return None
    pieces = tokenizer.load(workdir / "tokenizer.model")
    if pieces.fingerprint() != config.data.tokenizer_hash:
        raise UsageError(
            f"{workdir / 'tokenizer.model'} has {pieces.vocab_size} pieces ({pieces.fingerprint()}), but the run was "
            f"trained with a different tokenizer ({config.data.vocab_size}, {config.data.tokenizer_hash})"
        )
    return pieces


def make(workdir: Path) -> None:
    """Creates the folder of a run.

    Raises:
      UsageError: it cannot be created or written to, or is a URL.
    """
    if _URL.match(str(workdir)):
        raise UsageError(
            f"the workdir is {workdir}; it must be a local path, on a file system that supports appending to "
            "files, such as NFS"
        )
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        write_text(workdir / "config.json.check", "")
        (workdir / "config.json.check").unlink()
    except OSError as error:
        raise UsageError(f"--workdir: {workdir} cannot be written to ({error.strerror})") from error


def has_checkpoints(workdir: Path) -> bool:
    """Whether the folder holds checkpoints; until it does, starting with a different config loses nothing."""
    return any(path.name.isdigit() for path in workdir.glob("checkpoints/*"))


def check_unchanged(workdir: Path, config: ml_collections.ConfigDict) -> None:
    """Checks that a config can resume the run in the workdir.

    Raises:
      UsageError: fields that affect what is trained differ; the message names each with both values.
    """
    changes = _differences(trained_fields(load_config(workdir)), trained_fields(config), "in the workdir", "now")
    if changes:
        raise UsageError(
            f"{workdir} holds a run with a different config; pass that config, or another --workdir:\n"
            + "\n".join(changes)
        )


def _differences(first: dict[str, Any], second: dict[str, Any], here: str, there: str) -> list[str]:
    """A line for each field that differs, with both values."""
    return [
        f"  config.{name}: {first.get(name, 'absent')!r} {here}, {second.get(name, 'absent')!r} {there}"
        for name in sorted(first.keys() | second.keys())
        if first.get(name) != second.get(name)
    ]


def trained_fields(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The fields of a config that affect what is trained, by dotted name; the others may change on resuming."""
    return {name: value for name, value in flatten(plain(config)).items() if not _may_change(name)}


def _may_change(name: str) -> bool:
    name = name.removeprefix("first.")  # a first stage may have been trained further since
    return any(name.startswith(entry) if entry.endswith(".") else name == entry for entry in _CHANGEABLE)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A plain config as one level of dotted names."""
    flat = {}
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
