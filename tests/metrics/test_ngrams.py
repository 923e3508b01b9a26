import numpy as np
import pytest

from bitdiff.metrics import ngrams


def test_distinct_counts_different_ngrams():
    sequences = [[1, 2, 3], [1, 2, 4], [5]]
    assert ngrams.distinct(sequences, 1) == 5 / 7
    assert ngrams.distinct(sequences, 2) == 3 / 4  # 12 23 12 24
    assert ngrams.distinct([[7] * 10], 2) == 1 / 9
    assert ngrams.distinct([[1]], 2) == 0


def test_the_entropy_is_that_of_a_sequences_frequencies():
    assert ngrams.entropy([[0, 1, 2, 3]]) == pytest.approx(np.log(4))
    assert ngrams.entropy([[0, 0, 0, 0], [0, 0, 1, 1], []]) == pytest.approx(np.log(2) / 2)
    assert ngrams.entropy([]) == 0
