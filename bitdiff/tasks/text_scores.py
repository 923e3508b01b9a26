"""Scores of generated text: how varied it is, beside as much real text."""

import numpy as np

from bitdiff.data import Dataset
from bitdiff.data.dataset import stack
from bitdiff.metrics import ngrams
from bitdiff.tasks.task import Score

_LENGTHS = (2, 3)  # of n-grams


def text_scores(tokens: np.ndarray, dataset: Dataset) -> dict[str, Score]:
    """Distinct n-grams and the entropy of samples int [N, L], and of as many held-out sequences.

    The data set has a tokenizer; sequences end at its EOS.
    """
    assert dataset.tokenizer is not None
    real = stack(dataset.test if len(dataset.test) else dataset.train, len(tokens))["tokens"]
    generated, held_out = (_without_padding(some, dataset.tokenizer.eos) for some in (tokens, real))
    scores = {}
    for n in _LENGTHS:
        about = f"different {n}-grams over all {n}-grams of {len(tokens)} samples"
        scores[f"distinct_{n}"] = Score(ngrams.distinct(generated, n), about)
        about = f"the same for {len(real)} sequences of the data"
        scores[f"distinct_{n}_real"] = Score(ngrams.distinct(held_out, n), about)
    scores["entropy"] = Score(ngrams.entropy(generated), "of the tokens within a sample, nats, mean")
    scores["entropy_real"] = Score(ngrams.entropy(held_out), f"the same for {len(real)} sequences of the data")
    return scores


def _without_padding(tokens: np.ndarray, eos: int) -> list[list[int]]:
    """The tokens before the first EOS of each row."""
    lengths = np.where((tokens == eos).any(axis=1), np.argmax(tokens == eos, axis=1), tokens.shape[1])
    return [row[:length].tolist() for row, length in zip(tokens, lengths, strict=True)]
