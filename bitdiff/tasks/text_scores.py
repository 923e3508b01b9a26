"""Scores of generated text: its diversity, compared to as much real text."""

import numpy as np

from bitdiff.data import Dataset
from bitdiff.data.dataset import stack
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.metrics import ngrams
from bitdiff.tasks.task import Score

_LENGTHS = (2, 3)  # of n-grams


def text_scores(tokens: np.ndarray, dataset: Dataset) -> dict[str, Score]:
    """Distinct n-grams and the entropy of samples int [N, L], and of as many real sequences.

    The real ones are test sequences, or training sequences if there are none. The data set has a tokenizer.
    """
    assert dataset.tokenizer is not None
    real = stack(dataset.test if len(dataset.test) else dataset.train, len(tokens))["tokens"]
    generated, held_out = (_without_padding(some, dataset.tokenizer) for some in (tokens, real))
    scores = {}
    for n in _LENGTHS:
        about = f"distinct {n}-grams divided by all {n}-grams of {len(tokens)} samples"
        scores[f"distinct_{n}"] = Score(ngrams.distinct(generated, n), about)
        about = f"the same for {len(real)} sequences of the data"
        scores[f"distinct_{n}_real"] = Score(ngrams.distinct(held_out, n), about)
    scores["entropy"] = Score(ngrams.entropy(generated), "mean entropy of the tokens within a sample, in nats")
    scores["entropy_real"] = Score(ngrams.entropy(held_out), f"the same for {len(real)} sequences of the data")
    return scores


def _without_padding(tokens: np.ndarray, pieces: Tokenizer) -> list[list[int]]:
    """The tokens before the first EOS or PAD of each row."""
    ends = np.isin(tokens, (pieces.eos, pieces.pad))
    lengths = np.where(ends.any(axis=1), np.argmax(ends, axis=1), tokens.shape[1])
    return [row[:length].tolist() for row, length in zip(tokens, lengths, strict=True)]
