"""The endless stream of training batches (Grain): reshuffled every epoch, resumable at any batch.

Example p of the stream depends only on (seed, p), and batch k holds examples k B to (k + 1) B - 1. The stream is thus
the same for any number of processes, each of which reads its own rows of every batch, and its position is one number.
Grain's elements are whole batches, because its overhead per example is ten times the cost of copying a small image.
"""

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import grain
import numpy as np
from PIL import Image

from bitdiff.data.dataset import Source, join, rows

_ORDER, _CROP, _CAPTIONS = range(3)  # one random stream per purpose


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
      seed: seed of the order, the flips, the crops and the sampled captions.
      flip: whether 'image' is mirrored left to right with probability 0.5.
      crop: smallest side of the random square crop that replaces 'image', as a fraction of its width; 1 for no crop.
      captions: how many of a picture's 'tokens' [captions, length] are sampled, in random order, repeated only if
        there are too few; 0 for data without captions.
      curriculum_steps: number of batches S of a curriculum for K captions: batch s uses the first caption in the first
        half, and then the first min(2^(1 + floor((2 s / S - 1) ceil(log2 K))), K).
      prefetch_batches: batches read ahead, each by its own thread; 0 reads on demand.
      process: (index, count): this process reads block `index` of `count` equal blocks of rows.
    """
    index, count = process
    local = batch_size // count

    @lru_cache(maxsize=2)  # a batch may hold the end of one epoch and the beginning of the next
    def epoch(number):
        rng = np.random.default_rng([seed, _ORDER, number])
        order = rng.permutation(len(source)).astype(np.int32)
        return _Epoch(order, rng.random(len(source)) < 0.5 if flip else np.zeros(0, bool))

    def batch(k, _):
        places = np.arange(local) + (k * batch_size + index * local)
        epochs, within = np.divmod(places, len(source))
        parts = [(epoch(number), within[epochs == number]) for number in range(epochs[0], epochs[-1] + 1)]
        chosen = np.concatenate([part.order[at] for part, at in parts])
        if captions:
            examples = [
                _pick(captions, curriculum_steps * batch_size, seed, place, source[int(i)])
                for place, i in zip(places, chosen, strict=True)
            ]
            arrays = join(examples)
        else:
            arrays = rows(source, chosen)
        if flip:
            mirrored = np.concatenate([part.mirrored[at] for part, at in parts])
            arrays["image"][mirrored] = arrays["image"][mirrored, :, ::-1]
        if crop < 1:
            arrays["image"] = np.stack(
                [_crop(crop, seed, place, image) for place, image in zip(places, arrays["image"], strict=True)]
            )
        return arrays

    stream = grain.MapDataset.range(1).repeat().map_with_index(batch)
    options = grain.ReadOptions(num_threads=prefetch_batches, prefetch_buffer_size=prefetch_batches)
    return iter(stream.to_iter_dataset(options))


class _Epoch(NamedTuple):
    """The order of the examples, int32 [examples], and whether the image at each place is mirrored, bool [examples]."""

    order: np.ndarray
    mirrored: np.ndarray


def _crop(smallest: float, seed: int, place: int, image: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng([seed, _CROP, place])
    size = image.shape[0]
    side = max(round(size * rng.uniform(smallest, 1.0)), 1)
    top, left = rng.integers(0, size - side + 1, 2)
    cropped = image[top : top + side, left : left + side]
    picture = Image.fromarray(cropped[..., 0] if image.shape[2] == 1 else cropped)
    pixels = np.asarray(picture.resize((size, size), Image.Resampling.BILINEAR), np.uint8)
    return pixels.reshape(image.shape)


def _pick(count: int, curriculum: int, seed: int, place: int, example: dict[str, Any]) -> dict[str, Any]:
    tokens = example["tokens"]
    known = len(tokens)
    if place < curriculum:
        doublings = math.ceil(math.log2(known))
        done = 1 + int((2 * place / curriculum - 1) * doublings) if 2 * place >= curriculum else 0
        known = min(2**done, known)
    order = np.random.default_rng([seed, _CAPTIONS, place]).permutation(known)
    return example | {"tokens": tokens[order[np.arange(count) % known]]}
