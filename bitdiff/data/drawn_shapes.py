"""Rendered scenes of colored shapes with captions: captioning that needs no download and can be checked exactly.

Some kinds of groups (count, size, color and shape) never appear in training; every test picture shows one.
"""

from typing import Any

import numpy as np

from bitdiff.data import tokenizer
from bitdiff.data.dataset import Dataset
from bitdiff.data.drawing import draw
from bitdiff.data.scenes import FORMS, Scene, captions, kinds
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.runtime.errors import UsageError

_TRAIN, _TEST = 30_000, 2_000
_HELD_OUT = 14  # kinds of groups, out of 144
_SPLIT_SEED = 0
_VOCABULARY = 64  # more than the number of words in the grammar


class Scenes:
    """Pictures rendered on access: 'image' uint8 [size, size, 3], 'tokens' int32 [captions, length]."""

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
        """The scene that a picture shows."""
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
    """The kinds of groups that appear in training pictures, and those that appear only in test pictures."""
    every = kinds()
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(every))
    return [every[i] for i in sorted(order[_HELD_OUT:])], [every[i] for i in sorted(order[:_HELD_OUT])]


def load(options: Any) -> Dataset:
    """30,000 training and 2,000 test pictures of options.image_size; each piece of the vocabulary is a word.

    Raises:
      UsageError: image_size, captions or length is out of range, or flip, crop or tokenizer is set.
    """
    if not 16 <= options.image_size <= 256:
        raise UsageError(f"config.data.image_size is {options.image_size}; it must be from 16 to 256 for shapes")
    if options.flip or options.crop < 1:
        raise UsageError(
            f"config.data.flip is {options.flip} and config.data.crop is {options.crop}; they must be False and 1, "
            "because a flipped or cropped picture of shapes does not match its captions"
        )
    if options.tokenizer:
        raise UsageError(
            f"config.data.tokenizer is {options.tokenizer!r}; it must be empty: shapes have their own vocabulary"
        )
    if not 1 <= options.captions <= FORMS:
        raise UsageError(f"config.data.captions is {options.captions}; it must be from 1 to {FORMS} for shapes")
    every = kinds()
    sentences = [text for kind in every for axis in (0, 1) for text in captions(Scene(kind, kind, axis))]
    pieces = tokenizer.train(sentences, _VOCABULARY, "word")
    longest = max(len(text.split()) for text in sentences) + 1
    if options.length < longest:
        raise UsageError(
            f"config.data.length is {options.length}; the longest caption has {longest} tokens, including EOS"
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
        about=f"drawn shapes, {options.image_size} pixels; each test picture shows a kind of group unseen in training",
        length=options.length,
        tokenizer=pieces,
    )
