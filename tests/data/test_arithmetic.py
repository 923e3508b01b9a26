"""The language of bracketed arithmetic: the parser against Python's own, and the data set."""

import numpy as np
import pytest

from bitdiff import data
from bitdiff.configs import expressions as config_file
from bitdiff.data.arithmetic import judge, sentence
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.expression_scores import expression_scores


def test_sentences_are_true_according_to_python():
    random = np.random.default_rng(0)
    for operations in (1, 2, 5, 14):
        for _ in range(50):
            text = sentence(random, operations)
            expression, _, value = text.replace("[", "(").replace("]", ")").partition("=")
            assert eval(expression) % 10 == int(value)
            assert judge(text) == (True, True)
            assert len(text.split()) == 4 * operations + 3


@pytest.mark.parametrize(
    ("text", "valid", "true"),
    [
        ("( 3 + [ 4 * 2 ] ) = 1", True, True),
        ("( 3 + [ 4 * 2 ] ) = 2", True, False),
        ("( 3 - 5 ) = 8", True, True),
        ("7 = 7", True, True),
        ("( 3 + [ 4 * 2 ) ] = 1", False, False),
        ("( 3 + 4 = 7", False, False),
        ("( 3 + 4 ) = 7 7", False, False),
        ("( 3 + 4 ) = 17", False, False),
        ("( 3 4 ) = 7", False, False),
        ("( 3 + 4 )", False, False),
        ("+", False, False),
        ("", False, False),
    ],
)
def test_the_parser_judges_sentences(text, valid, true):
    assert judge(text) == (valid, true)


def test_the_data_set_is_fixed_and_fits_its_length():
    options = config_file.get_config().data
    dataset = data.load(options)
    assert (len(dataset.train), len(dataset.test), dataset.shape) == (50_000, 2_000, (64,))
    texts = [dataset.tokenizer.decode(dataset.train[i]["tokens"]) for i in range(300)]
    assert all(judge(text).true for text in texts)
    assert {len(text.split()) for text in texts} == {4 * n + 3 for n in range(1, 16)}
    np.testing.assert_array_equal(data.load(options).train[7]["tokens"], dataset.train[7]["tokens"])
    assert texts[0] != dataset.tokenizer.decode(dataset.test[0]["tokens"])
    options.length = 5
    with pytest.raises(UsageError, match="require a length of 8 or more"):
        data.load(options)


def test_scores_count_valid_true_and_different_sentences():
    texts = ["( 3 + 4 ) = 7", "( 3 + 4 ) = 7", "( 3 + 4 ) = 8", "( 3 +"]
    values = {name: score.value for name, score in expression_scores(texts, texts[:1]).items()}
    assert values == {"valid": 0.75, "true": 0.5, "distinct": 0.75, "length_tv": 0.25}
