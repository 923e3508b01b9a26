"""Plain text: every line of a file is a sequence of tokens."""

from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data import tokenizer
from bitdiff.data.dataset import Arrays, Dataset, split
from bitdiff.runtime.errors import UsageError

_TRAINED_ON = 200_000  # at most this many lines train the file's own tokenizer


def read_lines(path: Path) -> dict[int, str]:
    """The non-empty lines of a text file, by line number from 1.

    Raises:
      UsageError: no such file, not UTF-8, or nothing in it.
    """
    if not path.is_file():
        raise UsageError(f"there is no text file {path}")
    try:
        numbered = enumerate(path.read_text(encoding="utf-8-sig").split("\n"), start=1)
    except ValueError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error}") from error
    lines = {number: line.strip() for number, line in numbered if line.strip()}
    if not lines:
        raise UsageError(f"{path} holds no text")
    return lines


def load(options: Any) -> Dataset:
    """The lines of options.path as tokens of options.tokenizer, or of a tokenizer trained on them.

    Raises:
      UsageError: no text, no usable tokenizer, or a line too long.
    """
    if options.length < 2:
        raise UsageError(f"config.data.length is {options.length}; it must be at least 2 (tokens per line)")
    path = Path(options.path).expanduser()
    numbered = read_lines(path)
    lines = list(numbered.values())
    if options.tokenizer:
        pieces = tokenizer.load(options.tokenizer)
    elif options.vocab_size:
        pieces = tokenizer.train(lines[:: -(-len(lines) // _TRAINED_ON)], options.vocab_size, options.tokenizer_kind)
    else:
        raise UsageError(
            "config.data.tokenizer is empty and config.data.vocab_size is 0; set config.data.tokenizer, or "
            "config.data.vocab_size to train a tokenizer on the text"
        )
    tokens = np.zeros((len(lines), options.length), np.int32)
    for i, (number, line) in enumerate(numbered.items()):
        try:
            tokens[i] = pieces.encode(line, options.length, cut=options.cut)
        except UsageError as error:
            raise UsageError(f"line {number} of {path}: {error}") from error
    tokenizer.warn_of_unknown(tokens, pieces, str(path))
    train, test = split(Arrays({"tokens": tokens}), options.test_fraction)
    return Dataset(
        field="tokens",
        train=train,
        test=test,
        shape=(options.length,),
        vocab_size=pieces.vocab_size,
        num_classes=0,
        class_names=(),
        about=f"text {path.resolve()}, {len(lines)} lines",
        tokenizer=pieces,
    )
