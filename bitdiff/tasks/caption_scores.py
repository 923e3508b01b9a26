"""Scores of captions: COCO's metrics, and for drawn shapes whether the captions are true."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bitdiff.data import Dataset, scenes
from bitdiff.metrics import captions, distributions
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.task import Score


def evaluate(outputs: dict[str, np.ndarray], dataset: Dataset, tokenizer: str) -> dict[str, Score]:
    """Scores generated captions of test pictures against the true ones.

    Args:
      outputs: 'tokens' int [N, L] and 'source' int [N], the numbers of the test pictures they describe.
      dataset: a data set whose test split has `captions(index)` and, for shapes, `scene(index)`.
      tokenizer: how captions are split into words, one of `metrics.captions.TOKENIZERS`.

    Raises:
      UsageError: a picture was described twice, which COCO's metrics do not support.
    """
    numbers = [str(i) for i in outputs["source"]]
    if len(set(numbers)) < len(numbers):
        raise UsageError(
            f"{len(numbers)} captions of {len(set(numbers))} test pictures; lower config.evaluate.num_samples to one "
            "per picture"
        )
    assert dataset.tokenizer is not None
    texts = dataset.tokenizer.texts(outputs["tokens"])
    test: Any = dataset.test
    references = {name: test.captions(int(name)) for name in numbers}
    values = captions.score(dict(zip(numbers, texts, strict=True)), references, tokenizer)
    about = f"{len(texts)} test pictures, split into words by the tokenizer {tokenizer!r}"
    scores = {name: Score(value, about) for name, value in values.items()}
    if hasattr(test, "scene"):
        scores |= truth(texts, [test.scene(int(name)) for name in numbers])
    return scores


def truth(texts: Sequence[str], shown: Sequence[scenes.Scene]) -> dict[str, Score]:
    """The fractions of captions that are grammatical, true, and complete, according to a parser; and their forms."""
    statements = [scenes.parse(text) for text in texts]
    true = [s is not None and scenes.is_true(s, scene) for s, scene in zip(statements, shown, strict=True)]
    complete = [s is not None and holds and scenes.is_complete(s) for holds, s in zip(true, statements, strict=True)]
    forms = [
        scenes.captions(scene).index(text) for text, scene, is_one in zip(texts, shown, complete, strict=True) if is_one
    ]
    return {
        "grammatical": Score(
            float(np.mean([s is not None for s in statements])), "fraction of captions that the parser accepts"
        ),
        "true": Score(float(np.mean(true)), "fraction of captions that are grammatical and true of the picture"),
        "complete": Score(float(np.mean(complete)), "fraction of captions that are true and omit nothing"),
    } | _diversity(np.array(forms, int))


def _diversity(forms: np.ndarray) -> dict[str, Score]:
    """The total variation between the frequencies of a picture's equally likely captions, int [N], and uniform."""
    if not len(forms):
        return {}
    uniform = np.full(scenes.FORMS, 1.0 / scenes.FORMS)
    value = distributions.tv(forms[:, None], np.arange(scenes.FORMS)[:, None], uniform)
    about = f"total variation between the uniform distribution and the forms of {len(forms)} complete captions"
    return {
        "form_tv": Score(value, about),
        "form_tv_floor": Score(distributions.tv_floor(uniform, len(forms)), "its expected value if they were uniform"),
    }
