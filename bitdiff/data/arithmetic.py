"""A small formal language: bracketed arithmetic expressions with their values, which a parser can check.

    ( 3 + [ 4 * 2 ] ) = 1

Every operation is enclosed in parentheses or square brackets, chosen at random; the value is taken modulo 10. A
sentence is valid if every bracket is matched, however far apart the pair, and true if it ends with the right digit.
"""

from typing import Any, NamedTuple

import numpy as np

from bitdiff.data import tokenizer
from bitdiff.data.dataset import Dataset
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.runtime.errors import UsageError

BRACKETS = (("(", ")"), ("[", "]"))
OPERATIONS = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b}
_TRAIN, _TEST = 50_000, 2_000
_VOCABULARY = 64  # more than the number of words
_SHORTEST = 8  # tokens of one operation and its value, and EOS
_TOKENS_PER_OPERATION = 4  # two brackets, an operator and a digit


class Judgment(NamedTuple):
    """Whether a sentence is in the language, and whether its value is right."""

    valid: bool
    true: bool


def judge(text: str) -> Judgment:
    """Parses and evaluates a sentence."""
    words = text.split()
    try:
        value, end = _value(words, 0)
        stated = words[end + 1]
        valid = words[end] == "=" and len(words) == end + 2 and stated.isdigit() and len(stated) == 1
        return Judgment(valid, valid and int(stated) == value)
    except (ValueError, IndexError):
        return Judgment(False, False)


def sentence(random: np.random.Generator, operations: int) -> str:
    """A random true sentence with that many operations, 1 or more."""
    words, value = _expression(random, operations)
    return " ".join([*words, "=", str(value)])


class Expressions:
    """Random true sentences, generated on access: 'tokens' int32 [length]."""

    def __init__(self, split: str, length: int, pieces: Tokenizer):
        self._test, self._length, self._pieces = split == "test", length, pieces

    def __len__(self) -> int:
        return _TEST if self._test else _TRAIN

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"tokens": self._pieces.encode(self.text(index), self._length)}

    def text(self, index: int) -> str:
        """A sentence; its number of operations is uniform over those that fit."""
        random = np.random.default_rng([index, int(self._test)])
        most = (self._length - _SHORTEST) // _TOKENS_PER_OPERATION + 1
        return sentence(random, int(random.integers(1, most + 1)))


def load(options: Any) -> Dataset:
    """50,000 training and 2,000 test sentences of up to options.length tokens, including EOS.

    Raises:
      UsageError: length is too small, or tokenizer is set.
    """
    if options.tokenizer or options.length < _SHORTEST:
        raise UsageError(
            f"config.data.tokenizer is {options.tokenizer!r} and config.data.length {options.length}; expressions have "
            f"their own vocabulary, and require a length of {_SHORTEST} or more"
        )
    digits = [str(i) for i in range(10)]
    words = [*digits, *OPERATIONS, "=", *(bracket for pair in BRACKETS for bracket in pair)]
    pieces = tokenizer.train([" ".join(words)], _VOCABULARY, "word")
    return Dataset(
        field="tokens",
        train=Expressions("train", options.length, pieces),
        test=Expressions("test", options.length, pieces),
        shape=(options.length,),
        vocab_size=pieces.vocab_size,
        num_classes=0,
        class_names=(),
        about=f"bracketed arithmetic modulo 10, up to {options.length} tokens",
        tokenizer=pieces,
    )


def _expression(random: np.random.Generator, operations: int) -> tuple[list[str], int]:
    if operations == 0:
        digit = int(random.integers(10))
        return [str(digit)], digit
    left = int(random.integers(operations))
    a, first = _expression(random, left)
    b, second = _expression(random, operations - 1 - left)
    symbol = list(OPERATIONS)[random.integers(len(OPERATIONS))]
    opening, closing = BRACKETS[random.integers(len(BRACKETS))]
    return [opening, *a, symbol, *b, closing], OPERATIONS[symbol](first, second) % 10


def _value(words: list[str], start: int) -> tuple[int, int]:
    """The value of the expression that begins at `start`, and the index after it.

    Raises:
      ValueError, IndexError: there is no expression.
    """
    if words[start].isdigit() and len(words[start]) == 1:
        return int(words[start]), start + 1
    closing = dict(BRACKETS).get(words[start])
    if closing is None:
        raise ValueError(words[start])
    first, end = _value(words, start + 1)
    operation = OPERATIONS.get(words[end])
    if operation is None:
        raise ValueError(words[end])
    second, end = _value(words, end + 1)
    if words[end] != closing:
        raise ValueError(words[end])
    return operation(first, second) % 10, end + 1
