"""Scores of sentences in the language of bracketed arithmetic, by its parser."""

from collections.abc import Sequence

import numpy as np

from bitdiff.data import arithmetic
from bitdiff.tasks.task import Score


def expression_scores(texts: Sequence[str], real: Sequence[str]) -> dict[str, Score]:
    """The fractions of sentences that are valid and true, how varied they are, and the distance of their lengths.

    Args:
      texts: generated sentences.
      real: sentences of the data, for comparison.
    """
    judgments = [arithmetic.judge(text) for text in texts]
    lengths, expected = (np.array([len(text.split()) for text in some]) for some in (texts, real))
    bins = max(lengths.max(initial=0), expected.max()) + 1
    histograms = [np.bincount(some, minlength=bins) / len(some) for some in (lengths, expected)]
    return {
        "valid": Score(float(np.mean([j.valid for j in judgments])), "fraction of sentences in the language"),
        "true": Score(float(np.mean([j.true for j in judgments])), "fraction of sentences that state the right value"),
        "distinct": Score(len(set(texts)) / len(texts), "number of different sentences, over all sentences"),
        "length_tv": Score(
            float(0.5 * np.abs(histograms[0] - histograms[1]).sum()),
            f"total variation of the lengths, {len(texts)} sentences against {len(real)} of the data",
        ),
    }
