"""Several captions are sampled per picture, and each picture keeps the one that agrees best with its own others."""

from types import SimpleNamespace

import numpy as np
import pytest

from bitdiff.data.dataset import Arrays
from bitdiff.evaluation import scores
from bitdiff.inference.draws import Draw
from bitdiff.runtime.errors import UsageError

PICTURES, CANDIDATES = 3, 4
# Sample i describes picture i % 3. Of the four captions of a picture, one differs, at another position for each.
TEXTS = [f"picture {i % PICTURES} shows a circle" for i in range(PICTURES * CANDIDATES)]
for picture, odd in enumerate((0, 1, 3)):
    TEXTS[odd * PICTURES + picture] = f"nothing like it {picture}"


def draw_texts(task, params, request, examples):
    assert request.num_samples == PICTURES * CANDIDATES
    assert len(examples) == PICTURES
    return {"tokens": np.arange(request.num_samples)[:, None], "invalid": np.arange(request.num_samples)}


def test_a_picture_keeps_the_caption_that_agrees_best_with_its_others(monkeypatch):
    monkeypatch.setattr(scores, "draw", draw_texts)
    monkeypatch.setattr(scores, "examples_for", lambda task, dataset: Arrays({"image": np.zeros((9, 2))}))
    tokenizer = SimpleNamespace(texts=lambda tokens: [TEXTS[i] for i in tokens[:, 0]])
    run = SimpleNamespace(task=None, params=None, tokenizer=tokenizer)
    request = Draw(*[None] * len(Draw._fields))._replace(num_samples=PICTURES)
    captions = SimpleNamespace(field="captions")
    chosen = scores._draw_by_consensus(run, request, captions, CANDIDATES)
    assert [TEXTS[i] for i in chosen["invalid"]] == [f"picture {i} shows a circle" for i in range(PICTURES)]
    with pytest.raises(UsageError, match=r"candidates is 4; it must be 1 for a model that describes no pictures"):
        scores._draw_by_consensus(run, request, SimpleNamespace(field="tokens"), CANDIDATES)
