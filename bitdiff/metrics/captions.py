"""Caption metrics as the COCO server computes them: BLEU-1 to BLEU-4, ROUGE-L and CIDEr-D.

All of them compare words, which depend on the tokenizer; it is therefore reported with every score.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from bitdiff.runtime.errors import UsageError, choose

Words = list[str]

# Tokens that COCO's tokenizer drops after splitting.
_PUNCTUATION = frozenset(("''", "'", "``", "`", "-LRB-", "-RRB-", "-LCB-", "-RCB-", ".", "?", "!", ",", ":", "-", "--"))
_PUNCTUATION |= {"...", ";"}
_ORDERS = 4
_ROUGE_BETA = 1.2
_CIDER_SIGMA = 6.0


def words_at_spaces(text: str) -> Words:
    """Splits a text at whitespace."""
    return text.split()


def treebank(text: str) -> Words:
    """Lowercase Penn Treebank words without punctuation: COCO's tokenizer, except in rare cases (opening ', gonna).

    Raises:
      UsageError: nltk is not installed.
    """
    try:
        from nltk.tokenize import TreebankWordTokenizer
    except ImportError as error:
        raise UsageError("the tokenizer 'treebank' requires nltk: pip install 'bitdiff[captions]'") from error
    text = re.sub(r"(?<=\w\w)\.(?=\s)", " .", text.replace("\n", " ").lower())  # nltk splits off only the last period
    words = TreebankWordTokenizer().tokenize(text, convert_parentheses=True)
    return [word for word in words if word.upper() not in _PUNCTUATION]


TOKENIZERS: dict[str, Callable[[str], Words]] = {"none": words_at_spaces, "treebank": treebank}


def check_tokenizer(tokenizer: str) -> None:
    """Raises UsageError if a tokenizer is unknown, or not installed."""
    choose("tokenizer", tokenizer, TOKENIZERS)
    TOKENIZERS[tokenizer]("a")


def score(
    hypotheses: Mapping[str, str], references: Mapping[str, Sequence[str]], tokenizer: str = "none"
) -> dict[str, float]:
    """Scores captions by image: {'BLEU-1': .., 'BLEU-4': .., 'ROUGE-L': .., 'CIDEr': ..}.

    Args:
      hypotheses: one caption per image.
      references: the reference captions of the same images, at least one per image.
      tokenizer: one of TOKENIZERS.

    Returns:
      BLEU and ROUGE-L in [0, 1]; CIDEr is CIDEr-D times 10, with the document frequencies of these references,
      and 0 for a single image.

    Raises:
      UsageError: an unknown tokenizer, no captions, or captions and references for different images.
    """
    choose("tokenizer", tokenizer, TOKENIZERS)
    if hypotheses.keys() != references.keys():
        differing = sorted(map(str, hypotheses.keys() ^ references.keys()))
        raise UsageError(f"captions and references are for different images; only in one of them: {differing[:5]}")
    lacking = [image for image, captions in references.items() if isinstance(captions, str) or not captions]
    if not hypotheses or lacking:
        raise UsageError(
            f"every image needs a list of references; without one: {lacking[:5] or 'all, there are no images'}"
        )
    split = TOKENIZERS[tokenizer]
    pairs = [(split(hypotheses[image]), [split(text) for text in references[image]]) for image in hypotheses]
    bleu = {f"BLEU-{n}": value for n, value in enumerate(_bleu(pairs), start=1)}
    return bleu | {"ROUGE-L": float(np.mean([_rouge(*pair) for pair in pairs])), "CIDEr": _cider(pairs)}


def results(ids: Sequence[int | str], texts: Sequence[str]) -> str:
    """Captions in the format of COCO's evaluation server: a JSON list of {"image_id": .., "caption": ..}."""
    rows = [{"image_id": number, "caption": text} for number, text in zip(ids, texts, strict=True)]
    return json.dumps(rows, indent=1) + "\n"


Pairs = list[tuple[Words, list[Words]]]


def _ngrams(words: Words) -> Counter:
    """Counts of all n-grams, n from 1 to 4."""
    return Counter(tuple(words[i : i + n]) for n in range(1, _ORDERS + 1) for i in range(len(words) - n + 1))


def _bleu(pairs: Pairs) -> list[float]:
    """Corpus BLEU (Papineni et al. 2002), with the length of the closest reference (the shorter one in a tie)."""
    matched, guessed = np.zeros(_ORDERS), np.zeros(_ORDERS)
    length = reference_length = 0
    for hypothesis, references in pairs:
        length += len(hypothesis)
        reference_length += min((abs(len(r) - len(hypothesis)), len(r)) for r in references)[1]
        largest: Counter = Counter()
        for reference in references:
            largest |= _ngrams(reference)
        for ngram, count in _ngrams(hypothesis).items():
            matched[len(ngram) - 1] += min(count, largest[ngram])
            guessed[len(ngram) - 1] += count
    # COCO's small constants, so that a zero count does not make the score zero.
    precisions = (matched + 1e-15) / (guessed + 1e-9)
    ratio = (length + 1e-15) / (reference_length + 1e-9)
    penalty = math.exp(1.0 - 1.0 / ratio) if ratio < 1.0 else 1.0
    return [float(np.prod(precisions[:n]) ** (1.0 / n) * penalty) for n in range(1, _ORDERS + 1)]


def _rouge(hypothesis: Words, references: list[Words]) -> float:
    """ROUGE-L (Lin 2004): F-score of the longest common subsequence, with the best precision and the best recall."""
    common = [_longest_common(hypothesis, reference) for reference in references]
    precision = max(common) / max(len(hypothesis), 1)
    recall = max(n / max(len(reference), 1) for n, reference in zip(common, references, strict=True))
    if not precision or not recall:
        return 0.0
    return (1 + _ROUGE_BETA**2) * precision * recall / (recall + _ROUGE_BETA**2 * precision)


def _longest_common(a: Words, b: Words) -> int:
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, start=1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def _cider(pairs: Pairs) -> float:
    """CIDEr-D (Vedantam et al. 2015): clipped tf-idf cosine of n-grams with a Gaussian penalty on lengths."""
    frequency: Counter = Counter()
    for _, references in pairs:
        frequency.update({ngram for reference in references for ngram in _ngrams(reference)})
    log_count = math.log(len(pairs))

    def vectors(words):
        weights: list[dict] = [{} for _ in range(_ORDERS)]
        for ngram, count in _ngrams(words).items():
            weights[len(ngram) - 1][ngram] = count * (log_count - math.log(max(1, frequency[ngram])))
        norms = [math.sqrt(sum(value**2 for value in part.values())) for part in weights]
        return weights, norms, max(len(words) - 1, 0)  # COCO's length: the number of bigrams

    total = 0.0
    for hypothesis, references in pairs:
        weights, norms, length = vectors(hypothesis)
        for reference in references:
            weights_r, norms_r, length_r = vectors(reference)
            penalty = math.exp(-((length - length_r) ** 2) / (2 * _CIDER_SIGMA**2))
            for n in range(_ORDERS):
                if norms[n] and norms_r[n]:
                    dot = sum(
                        min(value, weights_r[n].get(ngram, 0.0)) * weights_r[n].get(ngram, 0.0)
                        for ngram, value in weights[n].items()
                    )
                    total += penalty * dot / (norms[n] * norms_r[n]) / (_ORDERS * len(references))
    return 10.0 * total / len(pairs)
