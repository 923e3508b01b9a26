"""The endless stream of training batches (Grain): shuffled anew every epoch, resumable at any batch.

Example p of the stream depends on (seed, p) alone and batch k holds examples k B to (k + 1) B - 1, so
the stream is the same however many processes read it, each its own rows of every batch, and its
position is one number.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import grain
import numpy as np
from PIL import Image

from bitdiff.data.dataset import Source


def batches(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    flip: bool = False,
    crop: float = 1.0,
    captions: int = 0,
    curriculum_steps: int = 0,
    prefetch_batches: int = 0,
    process: tuple[int, int] = (0, 1),
) -> Iterator[dict[str, np.ndarray]]:
    """This process's rows of each global batch; `get_state()` and `set_state()` save and restore the position.

    Args:
      source: the training examples.
      batch_size: examples in a global batch, over all processes.
      seed: of the order, the flips and the crops.
      flip: whether 'image' is mirrored left to right with probability 0.5.
      crop: the smallest side of a random square of 'image', in widths of it, that takes its place; 1 for none.
      captions: how many of a picture's 'tokens' [captions, length] are drawn, without repetition as far as there are
        enough of them, in random order; 0 for data without captions.
      curriculum_steps: for half of so many batches it is the first alone, for the other half more and more of them.
      prefetch_batches: batches read ahead, each by a thread of its own; 0 reads when asked.
      process: (index, count): which of so many equal blocks of rows this process reads.
    """
    stream = grain.MapDataset.source(source).seed(seed).shuffle().repeat()
    if flip:
        stream = stream.random_map(_flip)
    if crop < 1:
        stream = stream.random_map(partial(_crop, crop))
    if captions:
        stream = stream.map_with_index(partial(_pick, captions, curriculum_steps * batch_size, seed))
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


def _crop(smallest: float, example: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
    image = example["image"]
    size = image.shape[0]
    side = max(round(size * rng.uniform(smallest, 1.0)), 1)
    top, left = rng.integers(0, size - side + 1, 2)
    picture = Image.fromarray(np.squeeze(image[top : top + side, left : left + side]))
    pixels = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR), np.uint8)
    return example | {"image": pixels.reshape(image.shape)}


def _pick(count: int, curriculum: int, seed: int, index: int, example: dict[str, Any]) -> dict[str, Any]:
    tokens = example["tokens"]
    known = len(tokens)
    if index < curriculum:
        known = 1 + int(max(2 * index / curriculum - 1, 0) * (known - 1))
    order = np.random.default_rng([seed, index]).permutation(known)
    return example | {"tokens": tokens[order[np.arange(count) % known]]}
