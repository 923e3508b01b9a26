import itertools

import numpy as np

from bitdiff.data.typicality import most_typical


def test_sequences_that_are_alike_are_chosen_among_equally_good_ones():
    """Ten forms of each example in a random order: all choices are of one form, whichever the best scores favor."""
    random = np.random.default_rng(0)
    forms = np.array(list(itertools.combinations(range(5), 2)))  # ten pairs of function words
    candidates = np.zeros((200, 10, 4), int)
    for row in candidates:
        content = 10 + random.integers(20, size=2)
        row[:] = [[a, content[0], b, content[1]] for a, b in forms[random.permutation(10)]]
    scores = random.normal(scale=0.1, size=(200, 10))
    chosen = most_typical(candidates, scores, margin=2.0, vocab_size=30, pad=-1)
    assert len(np.unique(candidates[np.arange(200), chosen][:, ::2], axis=0)) == 1
    best = np.argmax(scores, axis=1)
    assert len(np.unique(candidates[np.arange(200), best][:, ::2], axis=0)) == 10
    np.testing.assert_array_equal(most_typical(candidates, scores, margin=0.0, vocab_size=30, pad=-1), best)


def test_padding_is_not_counted():
    candidates = np.array([[[5, 0, 0], [5, 6, 0]], [[5, 6, 0], [5, 0, 0]]])
    scores = np.zeros((2, 2))
    chosen = most_typical(candidates, scores, margin=1.0, vocab_size=7, pad=0)
    np.testing.assert_array_equal(candidates[[0, 1], chosen], [[5, 0, 0], [5, 0, 0]])  # fewer tokens are more probable
