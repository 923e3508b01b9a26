"""Perplexity under an autoregressive model, against the closed form for a model with known probabilities."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff import fit
from bitdiff.configs import npz
from bitdiff.data import from_arrays
from bitdiff.evaluation.baseline import open_baseline, perplexity
from bitdiff.inference.trained import Trained
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task

PROBABILITIES = np.array([0.1, 0.2, 0.3, 0.4])


class _Unigrams(nn.Module):
    """A causal model that predicts every token with the same known probabilities."""

    num_classes: int = 0

    @nn.compact
    def __call__(self, x, time=None, label=None, dropout_keys=None):
        logits = self.param("logits", lambda key: jnp.log(jnp.asarray(PROBABILITIES)))
        return jnp.broadcast_to(logits, (*x.shape, 4))


def unigrams(eos):
    config = npz.get_config("tokens")
    config.task = "autoregressive"
    config.data.update(length=5, vocab_size=4, num_classes=0, eos=eos, pad=0)
    config.network.embed_layers = 1
    task = make_task(config, network=_Unigrams())
    params = {"params": {"logits": jnp.log(jnp.asarray(PROBABILITIES))}}
    return Trained(None, config, task, params, 0, None)


def test_perplexity_is_that_of_the_tokens_up_to_eos():
    tokens = np.array([[1, 2, 3, 0, 0], [2, 2, 2, 2, 1]])
    every = np.exp(-np.log(PROBABILITIES[tokens]).mean())
    assert perplexity(unigrams(-1), tokens) == pytest.approx(every, rel=1e-5)
    counted = np.concatenate([tokens[0][:3], tokens[1]])  # 3 is EOS
    assert perplexity(unigrams(3), tokens) == pytest.approx(np.exp(-np.log(PROBABILITIES[counted]).mean()), rel=1e-5)


def test_many_sequences_are_measured_in_batches():
    tokens = np.random.default_rng(0).integers(0, 4, (230, 5))
    expected = np.exp(-np.log(PROBABILITIES[tokens]).mean())
    assert perplexity(unigrams(-1), tokens) == pytest.approx(expected, rel=1e-5)


def small(task):
    config = npz.get_config("tokens")
    config.task = task
    config.network.update(dim=8, layers=1, head_dim=8, embed_layers=1)
    config.train.update(steps=1, batch_size=4, sample_every_steps=0)
    if task == "autoregressive":
        config.sample.update(steps=0, sampler="random")
    return config


@pytest.mark.slow
def test_a_baseline_of_other_sequences_is_refused(tmp_path):
    fit(small("autoregressive"), from_arrays({"tokens": np.arange(60).reshape(20, 3) % 5}), workdir=tmp_path / "short")
    run = fit(small("tokens"), from_arrays({"tokens": np.arange(80).reshape(20, 4) % 5}), workdir=tmp_path / "bits")
    with pytest.raises(UsageError, match=r"length 3 .* but the run with 5, 4 and none; all three must match"):
        open_baseline(run, tmp_path / "short")
    with pytest.raises(UsageError, match="holds no autoregressive model"):
        open_baseline(run, tmp_path / "bits")
