"""The bound in bits per value, against a distribution whose entropy is known."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import exact_predictor

from bitdiff.configs import mixture
from bitdiff.data import Dataset, token_pairs
from bitdiff.data.dataset import Arrays
from bitdiff.diffusion import masking
from bitdiff.evaluation.likelihood import bits_per_value


def test_the_exact_predictor_needs_the_entropy_in_bits_per_token():
    probabilities = token_pairs.probabilities()
    predict = exact_predictor(probabilities)

    def bound(params, batch, keys):
        del params
        times = masking.stratified_times(keys)
        nats = masking.bound(predict, batch["tokens"], times, jax.vmap(jax.random.fold_in, (0, None))(keys, 1))
        return nats, jnp.full(len(nats), 2.0)

    pairs = Arrays({"tokens": token_pairs.draw(2_000, seed=1)})
    dataset = Dataset("tokens", pairs, pairs, (2,), len(probabilities), 0, (), "token pairs")
    run = SimpleNamespace(task=SimpleNamespace(bound=bound), params={}, config=mixture.get_config())
    found = bits_per_value(run, dataset)["bits_per_value"]
    entropy = -np.sum(probabilities * np.log2(probabilities)) / 2
    error = float(found.about.rpartition(" ")[2])
    assert error < 0.02 * entropy
    assert found.value == pytest.approx(entropy, abs=3 * error)
