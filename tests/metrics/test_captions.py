"""Caption metrics against pycocoevalcap 1.2, whose scores for these corpora are stored here."""

import random

import pytest

from bitdiff.metrics import captions
from bitdiff.runtime.errors import UsageError

# (seed, images, maximum number of references) -> pycocoevalcap's scores.
COCO = {
    (0, 500, 5): {
        "BLEU-1": 0.7162041181734657,
        "BLEU-2": 0.5108902000294532,
        "BLEU-3": 0.42724090772244194,
        "BLEU-4": 0.3873303789611768,
        "ROUGE-L": 0.5527670242624638,
        "CIDEr": 1.762189582283227,
    },
    (1, 20, 5): {
        "BLEU-1": 0.7308302222485702,
        "BLEU-2": 0.5853755925955405,
        "BLEU-3": 0.5372007277511641,
        "BLEU-4": 0.514621093511958,
        "ROUGE-L": 0.6334815295869406,
        "CIDEr": 2.4920266325423124,
    },
    (2, 3, 1): {
        "BLEU-1": 0.6562499999794923,
        "BLEU-2": 0.5423845816977299,
        "BLEU-3": 0.4836677245379634,
        "BLEU-4": 0.45871083555620856,
        "ROUGE-L": 0.5455958294242124,
        "CIDEr": 4.186489232516977,
    },
    (3, 1, 2): {
        "BLEU-1": 0.1947001957191763,
        "BLEU-2": 4.654224883289751e-09,
        "BLEU-3": 1.4114211429376907e-11,
        "BLEU-4": 8.134981279967864e-13,
        "ROUGE-L": 0.21785714285714283,
        "CIDEr": 0.0,
    },
}


def corpus(seed, images, most):
    """Random captions over a vocabulary of twelve words, some of them equal to a reference."""
    rng = random.Random(seed)
    words = [f"w{i}" for i in range(12)]

    def sentence():
        return " ".join(rng.choice(words) for _ in range(rng.randint(1, 12)))

    references = {str(i): [sentence() for _ in range(rng.randint(1, most))] for i in range(images)}
    hypotheses = {i: (rng.choice(r) if rng.random() < 0.3 else sentence()) for i, r in references.items()}
    return hypotheses, references


@pytest.mark.parametrize("case", COCO)
def test_scores_equal_pycocoevalcaps(case):
    assert captions.score(*corpus(*case)) == pytest.approx(COCO[case], rel=1e-9, abs=1e-15)


def test_perfect_captions_score_high():
    references = {"a": ["a red cat", "one cat"], "b": ["two dogs in a park", "dogs"], "c": ["a big blue bird"]}
    scores = captions.score({"a": "a red cat", "b": "two dogs in a park", "c": "a big blue bird"}, references)
    assert scores["BLEU-1"] == pytest.approx(1.0)
    assert scores["ROUGE-L"] == 1.0
    # CIDEr is the mean over references: the other captions of a and b share little with these.
    assert 5 < scores["CIDEr"] < 10


def test_an_empty_caption_scores_near_zero():
    scores = captions.score({"a": ""}, {"a": ["a cat"]})
    assert scores["ROUGE-L"] == scores["CIDEr"] == 0
    assert scores["BLEU-4"] < 1e-3


@pytest.mark.parametrize(
    ("hypotheses", "references", "tokenizer", "message"),
    [
        ({"a": "x"}, {"b": ["x"]}, "none", r"different images.*\['a', 'b'\]"),
        ({"a": "x"}, {"a": []}, "none", r"needs a list of references; without one: \['a'\]"),
        ({"a": "x"}, {"a": "x"}, "none", r"needs a list of references"),
        ({}, {}, "none", "there are no images"),
        ({"a": "x"}, {"a": ["x"]}, "ptb", "unknown tokenizer 'ptb'; valid names are: none, treebank"),
    ],
)
def test_input_that_cannot_be_scored_is_refused(hypotheses, references, tokenizer, message):
    with pytest.raises(UsageError, match=message):
        captions.score(hypotheses, references, tokenizer)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("A man's dog isn't here; it ran -- away!", "a man 's dog is n't here it ran away"),
        ('Two "big" (red) cats, 3.5 lbs.', "two big red cats 3.5 lbs"),
        ("A cat sat. A dog ran.", "a cat sat a dog ran"),
        ("The U.S. flag\non a well-known café...", "the u.s. flag on a well-known café"),
        ("rock & roll: can't {stop}?", "rock & roll ca n't stop"),
    ],
)
def test_treebank_words_equal_those_of_cocos_tokenizer(text, words):
    """The expected words follow Stanford's PTBTokenizer with COCO's punctuation list; Java is not needed."""
    assert captions.treebank(text) == words.split()
