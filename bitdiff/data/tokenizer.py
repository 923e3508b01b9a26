"""Text <-> tokens by SentencePiece: every sequence ends in EOS and is padded with PAD.

In a model trained here, pieces 0, 1, 2 and 3 are PAD, BOS, EOS and UNK. An existing `.model` may number them
differently and needs no BOS: no sequence contains it, and the first input of an autoregressive model is not a piece.
"""

import hashlib
import io
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import sentencepiece as spm

from bitdiff.runtime.errors import UsageError, choose

KINDS = ("auto", "unigram", "bpe", "word", "char")
_SPECIAL = 4  # PAD, BOS, EOS and UNK
_LONG = 4192  # SentencePiece's default limit on a text in bytes; raised only if needed, as models may depend on it
_log = logging.getLogger(__name__)


class Tokenizer:
    """A SentencePiece model."""

    def __init__(self, model: bytes, origin: str):
        """Loads a model from the bytes of its file; `origin` names it in messages.

        Raises:
          UsageError: not a SentencePiece model, or one without separate PAD and EOS pieces.
        """
        self._model = model
        try:
            self._pieces = spm.SentencePieceProcessor(model_proto=model)
            self.vocab_size: int = self._pieces.vocab_size()
        except (RuntimeError, TypeError, ValueError) as error:
            raise UsageError(f"{origin} is not a SentencePiece model: {error}") from error
        self.pad, self.bos, self.eos = self._pieces.pad_id(), self._pieces.bos_id(), self._pieces.eos_id()
        self.unk = self._pieces.unk_id()
        lacking = [name for name in ("pad", "eos") if not 0 <= getattr(self, name) < max(self.vocab_size, 1)]
        if lacking:
            raise UsageError(
                f"the SentencePiece model {origin} has no {' and no '.join(lacking)} piece; both are required: "
                "train one with python -m bitdiff.train_tokenizer, or with spm_train and --pad_id=0 --bos_id=1 "
                "--eos_id=2 --unk_id=3"
            )
        if self.pad == self.eos:
            raise UsageError(
                f"the SentencePiece model {origin} uses piece {self.pad} for both pad and eos; it needs two pieces"
            )

    def split(self, text: str) -> list[int]:
        """The pieces of a text."""
        return self._pieces.encode(text)

    def encode(self, text: str, length: int, *, cut: bool = False) -> np.ndarray:
        """Encodes a text as int32 [length]: its pieces, EOS, and PAD.

        Args:
          text: a non-empty text.
          length: length of the sequence, including EOS.
          cut: whether to truncate a text that is too long; otherwise it is an error.

        Raises:
          UsageError: the text is empty or too long.
        """
        pieces = self.split(text)
        if not pieces:
            raise UsageError("the text is empty")
        if len(pieces) >= length and not cut:
            raise UsageError(
                f"the text has {len(pieces)} tokens plus EOS, but config.data.length is {length}: {text[:80]!r}; "
                "increase config.data.length, or set config.data.cut=True to truncate"
            )
        tokens = np.full(length, self.pad, np.int32)
        pieces = [*pieces[: length - 1], self.eos]
        tokens[: len(pieces)] = pieces
        return tokens

    def decode(self, tokens: Iterable[int]) -> str:
        """Decodes tokens up to EOS, skipping PAD and BOS.

        Raises:
          UsageError: a token is outside the vocabulary.
        """
        kept = []
        for token in map(int, tokens):
            if token == self.eos:
                break
            if not 0 <= token < self.vocab_size:
                raise UsageError(f"token {token} is outside the vocabulary, 0 to {self.vocab_size - 1}")
            if token not in (self.pad, self.bos):
                kept.append(token)
        return self._pieces.decode(kept)

    def texts(self, rows: Iterable[Iterable[int]]) -> list[str]:
        """The texts of rows of tokens; see `decode`."""
        return [self.decode(row) for row in rows]

    def fingerprint(self) -> str:
        """A hash that identifies the model."""
        return hashlib.sha256(self._model).hexdigest()[:16]

    def to_bytes(self) -> bytes:
        """The contents of a `.model` file."""
        return self._model


def load(path: str | Path) -> Tokenizer:
    """Loads a `.model` file.

    Raises:
      UsageError: no such file, or not a usable SentencePiece model.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UsageError(f"there is no SentencePiece model {path}; train one with python -m bitdiff.train_tokenizer")
    return Tokenizer(path.read_bytes(), str(path))


def warn_of_unknown(tokens: np.ndarray, pieces: Tokenizer, about: str) -> None:
    """Logs a warning if texts contain characters outside the vocabulary; `about` names the texts."""
    count, words = int((tokens == pieces.unk).sum()), int((tokens != pieces.pad).sum())
    if count:
        _log.warning("%s: %d of %d tokens are UNK: the tokenizer does not know their characters", about, count, words)


def train(texts: Sequence[str], vocab_size: int, kind: str = "unigram") -> Tokenizer:
    """Trains a model on texts, in one thread, so that the same texts give the same pieces.

    Args:
      texts: sentences or captions.
      vocab_size: number of pieces, including the four special ones; the model has fewer if the texts do not yield
        that many, with a warning unless pieces are words or characters.
      kind: one of KINDS; 'auto' means 'word' if the vocabulary has room for all words, and 'bpe' otherwise.

    Raises:
      UsageError: no texts, an unknown kind, or a vocabulary too small for their characters.
    """
    choose("kind of pieces", kind, KINDS)
    if not any(text.strip() for text in texts):
        raise UsageError("there is no text to train a tokenizer on")
    if kind == "auto":
        kind = "word" if _has_few_words(texts, vocab_size) else "bpe"
    longest = max(len(text.encode()) for text in texts)
    room: Any = {"max_sentence_length": longest + 1} if longest >= _LONG else {}  # SentencePiece skips longer texts
    model = io.BytesIO()
    try:
        spm.SentencePieceTrainer.train(
            sentence_iterator=iter(texts),
            model_writer=model,
            vocab_size=vocab_size,
            model_type=kind,
            hard_vocab_limit=False,
            use_all_vocab=kind in ("word", "char"),
            character_coverage=1.0 if kind in ("word", "char") else 0.9995,
            pad_id=0,
            bos_id=1,
            eos_id=2,
            unk_id=3,
            **room,
            num_threads=1,
            minloglevel=2,
        )
    except (RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"cannot train a {kind} model of {vocab_size} pieces on these texts: {reason}") from error
    pieces = Tokenizer(model.getvalue(), "the new model")
    if pieces.vocab_size < vocab_size and kind in ("unigram", "bpe"):
        _log.warning("the texts yield a vocabulary of only %d pieces, not %d", pieces.vocab_size, vocab_size)
    return pieces


def _has_few_words(texts: Sequence[str], vocab_size: int) -> bool:
    """Whether the words of the texts fit in a vocabulary and repeat, unlike names, formulas or texts without spaces."""
    words = [word for text in texts for word in text.split()]
    distinct = len(set(words))
    return distinct + _SPECIAL <= vocab_size and len(words) >= 3 * distinct and len(words) >= 2 * len(texts)
