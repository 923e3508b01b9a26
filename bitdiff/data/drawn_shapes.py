"""Drawn scenes of coloured shapes with captions: captioning that needs no download and can be checked exactly.

Some kinds of groups (count, size, colour and shape together) never appear in training; every test picture shows one.
"""

from typing import Any

import numpy as np

from bitdiff.data import tokenizer
from bitdiff.data.dataset import Dataset
from bitdiff.data.drawing import draw
from bitdiff.data.scenes import Scene, captions, kinds
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.runtime.errors import UsageError

_TRAIN, _TEST = 30_000, 2_000
_CAPTIONS = 6  # of a picture
_HELD_OUT = 14  # of the 144 kinds of groups
_SPLIT_SEED = 0
_VOCABULARY = 64  # more than the grammar's words


class Scenes:
    """Pictures drawn when asked for: 'image' uint8 [size, size, 3], 'tokens' int32 [captions, length]."""

    def __init__(self, split: str, size: int, length: int, count: int, pieces: Tokenizer):
        self._test, self._size, self._length, self._count = split == "test", size, length, count
        self._pieces = pieces

    def __len__(self) -> int:
        return _TEST if self._test else _TRAIN

    def __getitem__(self, index: int) -> dict[str, Any]:
        scene, random = self._scene(index)
        image = draw(scene, self._size, random)
        tokens = np.stack([self._pieces.encode(text, self._length) for text in captions(scene)[: self._count]])
        return {"image": image, "tokens": tokens}

    def captions(self, index: int) -> list[str]:
        """All true and complete captions of a picture."""
        return captions(self.scene(index))

    def scene(self, index: int) -> Scene:
        """What a picture shows."""
        return self._scene(index)[0]

    def _scene(self, index: int) -> tuple[Scene, np.random.Generator]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        random = np.random.default_rng([index, int(self._test)])
        seen, unseen = split_kinds()
        groups = [(unseen if self._test else seen)[random.integers(len(unseen) if self._test else len(seen))]]
        every = kinds() if self._test else seen
        groups.append(every[random.integers(len(every))])
        if random.random() < 0.5:
            groups.reverse()
        return Scene(*groups, axis=int(random.integers(2))), random


def split_kinds() -> tuple[list, list]:
    """The kinds of groups that training pictures show, and those that only test pictures do."""
    every = kinds()
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(every))
    return [every[i] for i in sorted(order[_HELD_OUT:])], [every[i] for i in sorted(order[:_HELD_OUT])]


def load(options: Any) -> Dataset:
    """30,000 training and 2,000 test pictures of options.image_size; a piece of the vocabulary is a word.

    Raises:
      UsageError: pictures too small to draw in, a vocabulary file, or no captions asked for.
    """
    if not 16 <= options.image_size <= 256:
        raise UsageError(f"config.data.image_size is {options.image_size}; shapes are drawn on 16 to 256 pixels")
    if options.flip or options.crop < 1:
        raise UsageError("config.data.flip or .crop is set: a mirrored or cut picture of shapes belies its captions")
    if options.tokenizer:
        raise UsageError("config.data.tokenizer: the shapes bring their own words; leave it empty")
    if not 1 <= options.captions <= _CAPTIONS:
        raise UsageError(f"config.data.captions is {options.captions}; a picture of shapes has 1 to {_CAPTIONS}")
    every = kinds()
    sentences = [text for kind in every for axis in (0, 1) for text in captions(Scene(kind, kind, axis))]
    pieces = tokenizer.train(sentences, _VOCABULARY, "word")
    longest = max(len(text.split()) for text in sentences) + 1
    if options.length < longest:
        raise UsageError(
            f"config.data.length is {options.length}; the longest caption has {longest} tokens, end included"
        )
    make = (options.image_size, options.length, options.captions, pieces)
    return Dataset(
        field="captions",
        train=Scenes("train", *make),
        test=Scenes("test", *make),
        shape=(options.image_size, options.image_size, 3),
        vocab_size=pieces.vocab_size,
        num_classes=0,
        class_names=(),
        about=f"drawn shapes, {options.image_size} pixels; in each test picture a kind of group unseen in training",
        length=options.length,
        tokenizer=pieces,
    )
