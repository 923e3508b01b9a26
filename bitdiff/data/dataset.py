"""The interface of all data sets: examples by index, a split, and the sizes that a model is built from."""

import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from bitdiff.data.tokenizer import Tokenizer
from bitdiff.runtime.errors import UsageError

_SPLIT_SEED = 0  # fixed, so that the split does not depend on a run's seed


class Source(Protocol):
    """Random access to examples, dicts of NumPy values.

    Their keys are 'image', 'tokens', both, 'point' or 'pose', and 'label' if the data are labeled.
    A source may also have take(indices) -> new arrays [N, ...], if that is faster than reading one example at a time.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> dict[str, Any]: ...


class Dataset(NamedTuple):
    """A data set, split into training and test examples.

    field: 'image' (uint8 [H, W, C]) or 'tokens' (int32 [L]), with values below vocab_size; 'captions': both 'image' and
      'tokens' (int32 [captions, length]), with tokens below vocab_size, from a source whose `captions(index)` returns
      their texts; 'point' (float32 [C], vocab_size 0); or 'pose' (float32 [atoms, 3], vocab_size 0), with the other
      arrays of `complexes.padded`.
    shape: (H, W, C), (L,), (C,) or (atoms, 3).
    num_classes: 0 if there are no labels.
    class_names: one name per class.
    about: where the data come from, in words; recorded in every evaluation.
    label_frequencies: the fraction of training examples in each class; () if unknown.
    length: length of captions in tokens.
    sizes: the largest sizes and types of complexes, by their fields in config.data, see `complexes.fields_of`.
    tokenizer: the tokenizer of tokens that represent text.
    """

    field: str
    train: Source
    test: Source
    shape: tuple[int, ...]
    vocab_size: int
    num_classes: int
    class_names: tuple[str, ...]
    about: str
    label_frequencies: tuple[float, ...] = ()
    length: int = 0
    sizes: tuple[tuple[str, int], ...] = ()
    tokenizer: Tokenizer | None = None


class Arrays:
    """Examples held in memory: one array [N, ...] per key."""

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays = arrays

    def __len__(self) -> int:
        return len(next(iter(self._arrays.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: array[index] for name, array in self._arrays.items()}

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Several examples as new arrays [N, ...]."""
        return {name: np.asarray(np.take(array, indices, axis=0)) for name, array in self._arrays.items()}


class Subset:
    """Some examples of a source, by index."""

    def __init__(self, source: Source, indices: Sequence[int] | np.ndarray):
        self._source = source
        self.indices = np.asarray(indices, int)

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._source[int(self.indices[index])]

    def take(self, indices: np.ndarray) -> dict[str, np.ndarray]:
        """Several examples as new arrays [N, ...]."""
        return rows(self._source, self.indices[indices])


def rows(source: Source, indices: np.ndarray) -> dict[str, np.ndarray]:
    """Some examples of a source as new arrays [N, ...]; at once if it has `take`, otherwise one at a time."""
    return source.take(indices) if hasattr(source, "take") else join([source[int(i)] for i in indices])


def join(examples: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
    """Examples as arrays [N, ...]; {} if there are none."""
    return {name: np.stack([example[name] for example in examples]) for name in (examples[0] if examples else ())}


def split(source: Source, test_fraction: float) -> tuple[Subset, Subset]:
    """Divides a source at random into (training, test), the same way every time.

    Raises:
      UsageError: test_fraction is not in [0, 1), or no training example is left.
    """
    if not 0 <= test_fraction < 1:
        raise UsageError(f"config.data.test_fraction is {test_fraction}; it must be at least 0 and below 1")
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(source))
    test = round(len(source) * test_fraction)
    if test == len(source):
        raise UsageError(
            f"config.data.test_fraction is {test_fraction}, which leaves none of {len(source)} examples for training; "
            "lower it"
        )
    return Subset(source, np.sort(order[test:])), Subset(source, np.sort(order[:test]))


def stack(source: Source, limit: int | None = None) -> dict[str, np.ndarray]:
    """The examples of a source as arrays [N, ...], {} if none; at most `limit`, evenly spread over the source."""
    count = len(source) if limit is None else min(limit, len(source))
    indices = np.linspace(0, len(source), count, endpoint=False).astype(int)
    return rows(source, indices) if count else {}


def fingerprint(source: Source) -> str:
    """A checksum of up to 64 evenly spread examples; distinguishes data with the same description."""
    arrays = stack(source, 64)
    return f"{zlib.crc32(b''.join(np.ascontiguousarray(arrays[name]).tobytes() for name in sorted(arrays))):08x}"


def label_frequencies(labels: np.ndarray, num_classes: int) -> tuple[float, ...]:
    """The fraction of labels int [N] in each class."""
    return tuple((np.bincount(labels, minlength=num_classes) / len(labels)).tolist())


def assign_labels(frequencies: Sequence[float], count: int) -> tuple[int, ...]:
    """`count` labels with these frequencies, up to rounding, in a fixed random order."""
    edges = np.round(np.cumsum(np.asarray(frequencies) / np.sum(frequencies)) * count).astype(int)
    labels = np.repeat(np.arange(len(frequencies)), np.diff(edges, prepend=0))
    return tuple(np.random.RandomState(_SPLIT_SEED).permutation(labels).tolist())
