"""Plain text: every line of a file is a sequence of tokens."""

from pathlib import Path
from typing import Any

import numpy as np

from bitdiff.data import tokenizer
from bitdiff.data.dataset import Arrays, Dataset, split
from bitdiff.runtime.errors import UsageError

_TRAINED_ON = 200_000  # at most this many lines train the file's own tokenizer
_MOST_TOKENS = 2**16


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
    lengths = np.array([len(pieces.split(line)) + 1 for line in lines])
    length = options.length or int(lengths.max())
    if not options.cut:
        _check_lengths(path, list(numbered), lengths, length)
    tokens = np.stack([pieces.encode(line, length, cut=options.cut) for line in lines])
    tokenizer.warn_of_unknown(tokens, pieces, str(path))
    train, test = split(Arrays({"tokens": tokens}), options.test_fraction)
    return Dataset(
        field="tokens",
        train=train,
        test=test,
        shape=(length,),
        vocab_size=pieces.vocab_size,
        num_classes=0,
        class_names=(),
        about=f"text {path.resolve()}, {len(lines)} lines, a vocabulary of {pieces.vocab_size}, "
        f"{np.median(lengths):g} tokens per line (median with EOS), {lengths.max()} at most",
        tokenizer=pieces,
    )


def _check_lengths(path: Path, numbers: list[int], lengths: np.ndarray, length: int) -> None:
    """Raises UsageError with the number of lines that are too long, and the longest of them."""
    long = int((lengths > length).sum())
    if length < 2 or length > _MOST_TOKENS or long:
        longest = int(np.argmax(lengths))
        raise UsageError(
            f"{long} of the {len(lengths)} lines of {path} have more than {length} tokens including EOS; line "
            f"{numbers[longest]} is the longest, with {lengths[longest]}. Set config.data.length to that (it must be "
            f"from 2 to {_MOST_TOKENS}), or set config.data.cut=True to truncate"
        )
