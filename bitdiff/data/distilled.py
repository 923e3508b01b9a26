"""Training data sampled from another model: sequences that replace a data set's own, or poses of its complexes.

They are written by `bitdiff.distill`.
"""

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data.dataset import Arrays, Dataset, Source
from bitdiff.data.typicality import most_typical
from bitdiff.runtime import files
from bitdiff.runtime.errors import UsageError

_RECORD = "samples.json"
# Fields of config.data that determine which complex has which index, besides the sizes that `_read_record` checks.
_SAME_COMPLEXES = ("name", "builder", "train_split")
_CHECKED = 20  # complexes that are compared with those the poses were sampled in
_MARGIN = 2.0  # nats; captions within this of the best score count as equally good


class Recaptioned:
    """The pictures of a source with one new caption each: 'tokens' int32 [1, length]."""

    def __init__(self, source: Source, tokens: np.ndarray):
        self._source, self._tokens = source, tokens

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[index] | {"tokens": self._tokens[index][None]}


class WithPoses:
    """Complexes of a source with sampled poses: 'sampled' float32 [A, 3], and 'deviation' float32 [], its RMSD."""

    def __init__(self, source: Source, index: np.ndarray, x: np.ndarray, deviation: np.ndarray):
        self._source, self._index, self._x, self._deviation = source, index, x, deviation

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, index: int) -> dict[str, Any]:
        found = {"sampled": self._x[index], "deviation": self._deviation[index]}
        return self._source[int(self._index[index])] | found


def distilled(dataset: Dataset, options: Any) -> Dataset:
    """A data set with the training sequences of the folder options.distilled, or with its poses of training complexes.

    The test examples remain the data's own.

    Raises:
      UsageError: the folder was not written by `bitdiff.distill` with the same data and tokenizer, or is incomplete.
    """
    folder = Path(options.distilled).expanduser()
    if dataset.field not in ("captions", "tokens", "pose"):
        raise UsageError(
            f"config.data.distilled is {str(folder)!r}, but the data ({dataset.about}) are neither sequences nor poses"
        )
    record = _read_record(folder, dataset)
    if dataset.field == "pose":
        return _with_poses(dataset, folder, record, options)
    candidates, scores = _read_shards(folder)
    count, length = len(dataset.train), dataset.length or dataset.shape[0]
    if len(candidates) != count or candidates.shape[2] != length:
        raise UsageError(
            f"config.data.distilled: {folder} holds {len(candidates)} sequences of {candidates.shape[2]} tokens; it "
            f"must hold {count} of {length}; if bitdiff.distill was interrupted, run it again"
        )
    pad = dataset.tokenizer.pad if dataset.tokenizer else -1
    chosen = most_typical(candidates, scores, margin=_MARGIN, vocab_size=dataset.vocab_size, pad=pad)
    tokens = candidates[np.arange(count), chosen].astype(np.int32)
    about = f"{dataset.about}; training sequences sampled at step {record['step']} of another model ({folder.name})"
    if dataset.field == "tokens":
        return dataset._replace(train=Arrays({"tokens": tokens}), about=about)
    return dataset._replace(train=Recaptioned(dataset.train, tokens), about=about)


def _with_poses(dataset: Dataset, folder: Path, record: dict[str, Any], options: Any) -> Dataset:
    """The data set with sampled poses beside those of its training complexes, one row for each sampled pose."""
    names = ("source", "pose", "deviation", "complex", "invalid")
    parts = [files.read_arrays(path, names) for path in _shards(folder)]
    if not parts or any(len(part) < len(names) for part in parts):
        raise UsageError(f"config.data.distilled: {folder} holds no poses; write them with bitdiff.distill")
    for name in _SAME_COMPLEXES:
        own, other = options[name], record["run"]["data"].get(name)
        if own != other:
            raise UsageError(
                f"config.data.distilled: {folder} was sampled with data.{name} {other!r}, but config.data.{name} is "
                f"{own!r}"
            )
    arrays = [np.concatenate([part[name] for part in parts]) for name in names]
    index, x, deviation, complexes = (array[arrays[-1] == 0] for array in arrays[:-1])
    if not len(index):
        raise UsageError(f"config.data.distilled: {folder} holds no pose with finite values")
    if x.shape[1:] != dataset.shape or index.max() >= len(dataset.train):
        raise UsageError(
            f"config.data.distilled: {folder} holds poses {list(x.shape[1:])} for complexes up to {index.max()}; the "
            f"data have poses {list(dataset.shape)} for complexes 0 to {len(dataset.train) - 1}"
        )
    for row in np.linspace(0, len(index) - 1, _CHECKED).astype(int):
        own = dataset.train[int(index[row])]
        if fingerprint(own["atoms"], own["residues"]) != complexes[row]:
            raise UsageError(
                f"config.data.distilled: {folder} was sampled in other complexes: training complex {index[row]} differs"
            )
    about = f"{dataset.about}; {len(index)} poses sampled at step {record['step']} of a docking run ({folder.name})"
    return dataset._replace(train=WithPoses(dataset.train, index, x, deviation), about=about)


def fingerprint(atoms: np.ndarray, residues: np.ndarray) -> int:
    """A checksum of a complex's padded types, int [A] and [R]."""
    return zlib.crc32(np.concatenate([atoms, residues]).astype(np.int32).tobytes())


def _read_record(folder: Path, dataset: Dataset) -> dict[str, Any]:
    path = folder / _RECORD
    try:
        record = json.loads(path.read_text())
        teacher = record["run"]["data"]
        facts: dict[str, Any] = {"vocab_size": dataset.vocab_size} | dict(dataset.sizes)
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


def _shards(folder: Path) -> list[Path]:
    return sorted(folder.glob("[0-9]*.npz"))


def _read_shards(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Sequences int [N, beams, L] and their scores float [N, beams]."""
    parts = []
    for path in _shards(folder):
        arrays = files.read_arrays(path, ["tokens", "scores"])
        tokens, scores = arrays.get("tokens"), arrays.get("scores")
        if tokens is None or scores is None or tokens.ndim != 3 or scores.shape != tokens.shape[:2]:
            raise UsageError(f"config.data.distilled: {path} holds no sequences with scores")
        parts.append((tokens, scores))
    if not parts or len({tokens.shape[1:] for tokens, _ in parts}) > 1:
        raise UsageError(f"config.data.distilled: {folder} holds no sequences, or sequences of several lengths")
    tokens, scores = zip(*parts, strict=True)
    return np.concatenate(tokens), np.concatenate(scores)
