import pytest

from bitdiff.metrics.consensus import consensus, ngram_f1


def test_with_a_gain_for_equal_texts_the_most_frequent_wins():
    texts = ["a b", "c d", "a b", "c d", "c d", "e"]
    assert consensus(texts, lambda a, b: float(a == b)) == 1
    assert consensus(["x", "y"], lambda a, b: float(a == b)) == 0


def test_the_middle_text_agrees_best_with_the_others():
    texts = ["a small cat on a red mat", "a small cat on a blue mat", "a small cat", "the dog runs"]
    assert texts[consensus(texts)] == "a small cat on a red mat"


@pytest.mark.parametrize(
    ("a", "b", "value"),
    [
        ("a b c", "a b c", 1.0),
        ("a b", "c d", 0.0),
        ("", "", 1.0),
        ("a b", "a", (2 / 3 + 0.0) / 2),  # one of three words, and a pair without a partner
        ("a b c", "a b d", (2 / 3 + 1 / 2 + 0.0) / 3),
    ],
)
def test_ngram_f1_by_hand(a, b, value):
    assert ngram_f1(a, b) == pytest.approx(value)
    assert ngram_f1(b, a) == pytest.approx(value)
