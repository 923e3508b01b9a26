"""Minimum-Bayes-risk selection among samples: the one that agrees best with the others (Kumar and Byrne 2004)."""

from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

_ORDERS = 4


def consensus(candidates: Sequence[str], gain: Callable[[str, str], float] | None = None) -> int:
    """The index of the candidate h with the highest mean gain, argmax_h sum_r gain(h, r) over all candidates r.

    With a gain of 1 for equal texts and 0 otherwise, this is the most frequent candidate. Ties go to the first.

    Args:
      candidates: one or more texts sampled under the same condition.
      gain: (hypothesis, reference) -> its quality, by default `ngram_f1`.
    """
    gain = ngram_f1 if gain is None else gain
    distinct = Counter(candidates)
    means = {text: sum(times * gain(text, other) for other, times in distinct.items()) for text in distinct}
    return candidates.index(max(distinct, key=lambda text: means[text]))


def ngram_f1(hypothesis: str, reference: str) -> float:
    """The mean F1 score of n-grams of words, over n = 1 to 4; n-grams longer than both texts are left out."""
    a, b = hypothesis.split(), reference.split()
    scores = [_f1(_ngrams(a, n), _ngrams(b, n)) for n in range(1, min(_ORDERS, max(len(a), len(b))) + 1)]
    return float(np.mean(scores)) if scores else 1.0


def _ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _f1(a: Counter, b: Counter) -> float:
    total = a.total() + b.total()
    return 2.0 * (a & b).total() / total if total else 0.0
