"""How good captions are: by COCO's metrics, and of drawn shapes also by what they say."""

from collections.abc import Sequence

import numpy as np

from bitdiff.data import Dataset, scenes
from bitdiff.errors import UsageError
from bitdiff.metrics import captions
from bitdiff.tasks.task import Score


def evaluate(outputs: dict[str, np.ndarray], dataset: Dataset, tokenizer: str) -> dict[str, Score]:
    """Scores generated captions of test pictures against the true ones.

    Args:
      outputs: 'tokens' int [N, L] and 'source' int [N], the numbers of the test pictures they describe.
      dataset: with `captions(index)` and, of shapes, `scene(index)` in its test split.
      tokenizer: what splits captions into words, one of `metrics.captions.TOKENIZERS`.

    Raises:
      UsageError: a picture was described twice, which COCO's metrics do not know.
    """
    numbers = [str(i) for i in outputs["source"]]
    if len(set(numbers)) < len(numbers):
        raise UsageError(
            f"{len(numbers)} captions of {len(set(numbers))} test pictures: lower evaluate.num_samples to one of each"
        )
    said = dataset.tokenizer.texts(outputs["tokens"])
    references = {name: dataset.test.captions(int(name)) for name in numbers}
    values = captions.score(dict(zip(numbers, said, strict=True)), references, tokenizer)
    about = f"{len(said)} test pictures, words by the tokenizer {tokenizer!r}"
    scores = {name: Score(value, about) for name, value in values.items()}
    if hasattr(dataset.test, "scene"):
        scores |= truth(said, [dataset.test.scene(int(name)) for name in numbers])
    return scores


def truth(said: Sequence[str], shown: Sequence[scenes.Scene]) -> dict[str, Score]:
    """What a parser finds of captions of scenes: the shares that are grammatical, true, and complete."""
    statements = [scenes.parse(text) for text in said]
    holds = [s is not None and scenes.is_true(s, scene) for s, scene in zip(statements, shown, strict=True)]
    whole = [held and scenes.is_complete(s) for held, s in zip(holds, statements, strict=True)]
    return {
        "grammatical": Score(float(np.mean([s is not None for s in statements])), "share that the parser accepts"),
        "true": Score(float(np.mean(holds)), "share that is grammatical and holds of the picture"),
        "complete": Score(float(np.mean(whole)), "share that is true and leaves nothing out"),
    }
