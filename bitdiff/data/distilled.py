"""Training sequences sampled from another model, in place of a data set's own (see `bitdiff.distill`)."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset, Source
from bitdiff.runtime import files
from bitdiff.runtime.errors import UsageError

RECORD = "samples.json"


class Recaptioned:
    """The pictures of a source with other captions: 'tokens' int32 [captions, length] of each."""

    def __init__(self, source: Source, tokens: np.ndarray):
        self._source, self._tokens = source, tokens

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[index] | {"tokens": self._tokens[index]}


def distilled(dataset: Dataset, options: Any) -> Dataset:
    """A data set of captions or tokens whose training sequences are those of the folder options.distilled.

    The test examples remain the data's own.

    Raises:
      UsageError: the folder was not written by `bitdiff.distill` with the same data and tokenizer, or is incomplete.
    """
    folder = Path(options.distilled).expanduser()
    if dataset.field not in ("captions", "tokens"):
        raise UsageError(f"config.data.distilled is {str(folder)!r}, but the data ({dataset.about}) are not sequences")
    record = _read_record(folder, dataset)
    tokens = _read_tokens(folder)
    count, length = len(dataset.train), dataset.length or dataset.shape[0]
    if len(tokens) < count or tokens.shape[1:] != (length,):
        raise UsageError(
            f"config.data.distilled: {folder} holds {len(tokens)} sequences of {tokens.shape[-1]} tokens; it must hold "
            f"at least {count} of {length}; run bitdiff.distill again to complete it"
        )
    about = f"{dataset.about}; training sequences sampled at step {record['step']} of another model ({folder.name})"
    if dataset.field == "tokens":
        return dataset._replace(train=Arrays({"tokens": tokens}), about=about)
    # Sample i describes picture i % count.
    captions = np.stack([tokens[start : start + count] for start in range(0, len(tokens) - count + 1, count)], axis=1)
    return dataset._replace(train=Recaptioned(dataset.train, captions), about=about)


def _read_record(folder: Path, dataset: Dataset) -> dict[str, Any]:
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
        teacher = record["run"]["data"]
        facts: dict[str, Any] = {"vocab_size": dataset.vocab_size}
        if dataset.tokenizer:
            facts["tokenizer_hash"] = dataset.tokenizer.fingerprint()
        if dataset.field == "captions":
            facts["image_size"] = dataset.shape[0]
        wrong = [
            f"data.{name} {teacher[name]!r} instead of {fact!r}"
            for name, fact in facts.items()
            if teacher[name] != fact
        ]
        int(record["step"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"config.data.distilled: {folder} is not a folder written by bitdiff.distill ({error})"
        ) from error
    if wrong:
        raise UsageError(f"config.data.distilled: {folder} was sampled with {', '.join(wrong)}")
    return record


def _read_tokens(folder: Path) -> np.ndarray:
    parts = []
    for path in sorted(folder.glob("[0-9]*.npz")):
        tokens = files.read_arrays(path, ["tokens"]).get("tokens")
        if tokens is None or tokens.ndim != 2:
            raise UsageError(f"config.data.distilled: {path} holds no token sequences")
        parts.append(tokens)
    return np.concatenate(parts).astype(np.int32) if parts else np.zeros((0, 0), np.int32)
