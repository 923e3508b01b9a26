"""How varied generated sequences are: distinct n-grams, and the entropy of their tokens."""

from collections.abc import Iterable, Sequence

import numpy as np


def distinct(sequences: Iterable[Sequence[int]], n: int) -> float:
    """The number of distinct n-grams divided by that of all n-grams, 0 to 1 (after Li et al. 2016); 0 without any.

    More text repeats more n-grams, so compare only samples with about the same number of tokens.

    Args:
      sequences: the tokens of each, without padding.
      n: the length of an n-gram, 1 or more.
    """
    grams = [tuple(tokens[i : i + n]) for tokens in sequences for i in range(len(tokens) - n + 1)]
    return len(set(grams)) / max(len(grams), 1)


def entropy(sequences: Iterable[Sequence[int]]) -> float:
    """The mean entropy of the frequencies of tokens within each sequence, in nats; empty sequences are left out.

    Repetitive text has a low perplexity under a language model, but also a low entropy: report the two together.
    """
    values = []
    for tokens in sequences:
        if len(tokens):
            frequencies = np.unique(tokens, return_counts=True)[1] / len(tokens)
            values.append(-np.sum(frequencies * np.log(frequencies)))
    return float(np.mean(values)) if values else 0.0
