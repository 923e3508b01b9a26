"""The endless stream of training batches (Grain): shuffled anew every epoch, resumable at any batch.

Example p of the stream depends on (seed, p) alone and batch k holds examples k B to (k + 1) B - 1, so
the stream is the same however many processes read it, each its own rows of every batch, and its
position is one number.
"""

from collections.abc import Iterator
from typing import Any

import grain
import numpy as np

from bitdiff.data.dataset import Source


def batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    prefetch_batches: int = 0,
    process: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of each global batch; `get_state()` and `set_state()` save and restore the position.

    Args:
      source: the training examples.
      batch_size: examples in a global batch, over all processes.
      seed: of the order and of the flips.
      flip: whether 'image' is mirrored left to right with probability 0.5.
      prefetch_batches: batches read ahead, each by a thread of its own; 0 reads when asked.
      process: (index, count): which of so many equal blocks of rows this process reads.
    """
    stream = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    if flip:
        stream = stream.random_map(_flip)
    index, count = process
    stream = _ProcessRows(stream, batch_size, index, count).batch(batch_size // count)
    options = grain.ReadOptions(num_threads=prefetch_batches, prefetch_buffer_size=prefetch_batches)
    return iter(stream.to_iter_dataset(options))


class _ProcessRows(grain.MapDataset):
    """The rows of every global batch that belong to one process."""

    def __init__(self, parent: grain.MapDataset, batch_size: int, index: int, count: int):
        super().__init__(parent)
        self._batch_size, self._local, self._first = batch_size, batch_size // count, index * (batch_size // count)

    def __len__(self) -> int:
        return len(self._parent)

    def __getitem__(self, index: Any) -> Any:
        batch, row = divmod(index, self._local)
        return self._parent[batch * self._batch_size + self._first + row]


def _flip(example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    return example | {"image": example["image"][:, ::-1]} if rng.random() < 0.5 else example
