"""LM1B: every variant builds at full size and, when shrunk, trains two steps on mocked sentences."""

import json
import math

import jax
import pytest
from conftest import ROOT

from bitdiff import data
from bitdiff.configs import lm1b
from bitdiff.data import tokenizer
from bitdiff.data.tokenizer_texts import read_texts
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task
from bitdiff.training.loop import Progress
from bitdiff.training.trainer import train


@pytest.fixture
def mocked_lm1b(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=8):
        yield


RESULTS = ROOT / "configs" / "results" / "lm1b.json"
SIZES = {"bits": 212_706_831, "softmax": 239_075_072, "cobit": 212_706_831, "autoregressive": 135_519_488}


@pytest.mark.parametrize("variant", lm1b.VARIANTS)
def test_every_variant_has_the_size_of_its_successors(variant):
    config = lm1b.get_config(variant)
    config.data.update(eos=2, pad=0)
    shapes = jax.eval_shape(make_task(config).init, jax.random.key(0))
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes["params"]))
    blocks = sum(
        math.prod(leaf.shape)
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes["params"])
        if "blocks_" in str(path[0]) and ("attention" in str(path) or "mlp" in str(path))
    )
    # Each of 12 blocks: four 768 x 768 matrices of attention and two 768 x 3072 of the MLP, with biases.
    assert blocks == pytest.approx(12 * 12 * 768**2, rel=0.002)
    assert count == SIZES[variant]
    rows = {row["name"]: row for row in json.loads(RESULTS.read_text())["rows"]}
    assert rows[variant]["parameters"] == f"{count / 1e6:.0f} M"


@pytest.mark.parametrize("variant", lm1b.VARIANTS)
@pytest.mark.slow
def test_every_variant_trains_two_steps_on_mocked_sentences(variant, mocked_lm1b, tmp_path):
    letters = tokenizer.train(read_texts("tfds:lm1b:train"), 100, "char")
    (tmp_path / "letters.model").write_bytes(letters.to_bytes())
    config = lm1b.get_config(variant)
    config.data.update(tokenizer=str(tmp_path / "letters.model"), length=16, vocab_size=0)
    config.network.update(dim=16, layers=1, head_dim=8)
    config.optimizer.warmup_steps = 1
    config.sample.update(steps=min(config.sample.steps, 3), lag=min(config.sample.lag, 2.0), batch_size=4)
    config.train.update(steps=2, batch_size=4, log_every_steps=1, sample_every_steps=2)
    config.checkpoint.update(every_steps=2, test_examples=4)
    assert data.load(config.data).train[3]["tokens"].shape == (16,)
    assert train(config, tmp_path / "run") == Progress(2, None)
    assert list((tmp_path / "run" / "samples").glob("*.txt"))


def test_text_requires_a_tokenizer_and_a_length(mocked_lm1b):
    with pytest.raises(UsageError, match="the tokenizer a SentencePiece model"):
        data.load(lm1b.get_config().data)
    with pytest.raises(UsageError, match="holds no text"):
        read_texts("tfds:cifar10:train")
