"""Masked diffusion against the exact entropy and distribution of token pairs, with the exact predictor."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import exact_predictor

from bitdiff.data import token_pairs
from bitdiff.diffusion import masking
from bitdiff.metrics import distributions


def keys_of(count: int, seed: int = 0) -> jax.Array:
    return jax.random.split(jax.random.key(seed), count)


def test_the_weight_is_the_derivative_of_the_schedule():
    t = jnp.linspace(0.01, 0.99, 50)
    slope = jax.vmap(jax.grad(masking.unmasked))(t)
    np.testing.assert_allclose(masking.weight(t), -slope / (1 - masking.unmasked(t)), rtol=1e-4)
    assert masking.unmasked(0.0) == pytest.approx(1, abs=1e-6)
    assert masking.unmasked(1.0) == pytest.approx(0, abs=1e-6)


def test_values_are_masked_at_the_scheduled_rate():
    t = jnp.full(1_000, 0.4)
    x_t = masking.corrupt(jnp.zeros((1_000, 50), int), t, keys_of(1_000))
    # 50,000 draws: a standard error of 0.0022.
    assert float(jnp.mean(x_t == 0)) == pytest.approx(float(masking.unmasked(0.4)), abs=0.01)


def test_the_bound_with_the_exact_predictor_is_the_entropy():
    probabilities = token_pairs.probabilities()
    entropy = -np.sum(probabilities * np.log(probabilities))
    bound = jax.jit(lambda x0, t, keys: masking.bound(exact_predictor(probabilities), x0, t, keys).mean())
    estimates = []
    for seed in range(20):
        # Pairs and times must be independent; `draw` returns pairs in random order.
        x0 = jnp.asarray(token_pairs.draw(50_000, seed=seed))
        keys = keys_of(50_000, seed)
        estimates.append(float(bound(x0, masking.stratified_times(keys), keys)))
    assert np.mean(estimates) == pytest.approx(entropy, rel=0.01)
    assert np.std(estimates) / np.sqrt(20) < 0.003 * entropy


def test_a_worse_predictor_has_a_larger_bound():
    probabilities = token_pairs.probabilities()
    x0, keys = jnp.asarray(token_pairs.draw(20_000, seed=0)), keys_of(20_000)
    independent = np.outer(probabilities.sum(1), probabilities.sum(0))
    t = masking.stratified_times(keys)
    best, worse = (float(masking.bound(exact_predictor(p), x0, t, keys).mean()) for p in (probabilities, independent))
    information = np.sum(probabilities * np.log(probabilities / independent))
    assert worse - best == pytest.approx(information, rel=0.15)


@pytest.mark.slow
def test_ancestral_samples_follow_the_distribution():
    probabilities = token_pairs.probabilities()
    start = jnp.full((20_000, 2), masking.MASK)
    states = np.argwhere(np.ones_like(probabilities))

    def distance(steps):
        draw = jax.jit(
            lambda keys: masking.sample(exact_predictor(probabilities), start, keys, steps=steps, sampler="ancestral")[
                0
            ]
        )
        samples = np.asarray(draw(keys_of(20_000)))
        return distributions.tv(samples, states, probabilities.ravel())

    floor = distributions.tv_floor(probabilities.ravel(), 20_000)
    # Values that are replaced in the same step are independent of one another, which one step shows clearly.
    assert distance(200) < 1.15 * floor
    assert distance(1) > 3 * floor


def test_the_most_likely_values_come_first_and_known_values_stay():
    logits = jnp.log(jnp.array([[0.97, 0.01, 0.01, 0.01], [0.25] * 4, [0.85, 0.05, 0.05, 0.05], [0.25] * 4]))
    seen = []

    def predict(x_t, alpha_t):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x_t)
        return jnp.broadcast_to(logits, (*x_t.shape, 4))

    start = jnp.array([[masking.MASK] * 4, [masking.MASK, masking.MASK, masking.MASK, 3]])
    samples, _ = masking.sample(predict, start, keys_of(2), steps=4, sampler="confidence", temperature=1e-6)
    jax.effects_barrier()
    masks = [(x == masking.MASK).sum(1).tolist() for x in seen]
    assert masks[0] == [4, 3]
    assert masks == sorted(masks, reverse=True)
    assert int(samples[1, 3]) == 3
    assert (np.asarray(samples) >= 0).all()
    for before, after in itertools.pairwise(seen):
        replaced = (before == masking.MASK) & (after != masking.MASK)
        assert not (replaced[0, 1] and (after[0, 0] == masking.MASK))  # the likelier position comes first


def test_the_temperature_scales_the_noise_on_the_confidence():
    """With noise of scale c on log p and log q, p comes first with probability p^(1/c) / (p^(1/c) + q^(1/c))."""
    p, q, temperature = 0.9, 0.6, 2.0
    logits = jnp.log(jnp.array([[p, 1 - p], [q, 1 - q]]))
    seen = []

    def predict(x_t, alpha_t):
        jax.debug.callback(lambda x: seen.append(np.asarray(x)), x_t)
        return jnp.broadcast_to(logits, (*x_t.shape, 2))

    count = 20_000
    start = jnp.full((count, 2), masking.MASK)
    masking.sample(predict, start, keys_of(count), steps=3, sampler="confidence", temperature=temperature)
    jax.effects_barrier()
    # The first step, to s = 2/3, replaces one value, and the last step the other.
    assert [(x == masking.MASK).mean() for x in seen] == [1.0, 0.5, 0.5]
    power = 1 / (2 / 3 * temperature)
    chances = []
    for first, second in itertools.product((p, 1 - p), (q, 1 - q)):  # the drawn values
        likely = first**power / (first**power + second**power)
        chances.append(first * second * likely)
    found = (seen[1][:, 0] != masking.MASK).mean()
    assert found == pytest.approx(sum(chances), abs=0.012)  # more than three standard errors
    assert abs(sum(chances) - 0.5) > 0.05  # so that a random order would fail


@pytest.mark.parametrize("sampler", masking.SAMPLERS)
@pytest.mark.parametrize("steps", [1, 7])
def test_no_mask_is_left(sampler, steps):
    def predict(x_t, alpha_t):
        return jnp.zeros((*x_t.shape, 5))

    start = jnp.full((50, 3, 3), masking.MASK)
    samples, estimates = masking.sample(predict, start, keys_of(50), steps=steps, sampler=sampler, keep_trajectory=True)
    assert set(np.unique(samples)) == set(range(5))
    assert estimates is not None
    assert estimates.shape == (steps, 50, 3, 3)
    assert (estimates >= 0).all()
    np.testing.assert_array_equal(estimates[-1], samples)


def test_drawn_values_follow_the_probabilities():
    p = np.array([0.5, 0.0, 0.2, 0.3, 0.0])
    logits = jnp.broadcast_to(jnp.log(jnp.asarray(p)), (40_000, 5))
    drawn = np.asarray(masking.draw_values(jax.random.key(0), logits))
    assert drawn.dtype == np.int32
    fractions = np.bincount(drawn, minlength=5) / len(drawn)
    # The standard error is at most 0.0025; values of probability 0 never occur.
    np.testing.assert_allclose(fractions, p, atol=0.01)
    assert fractions[1] == fractions[4] == 0
    certain = masking.draw_values(jax.random.key(1), jnp.full((1_000, 300), -1e9).at[:, 299].set(0.0))
    np.testing.assert_array_equal(certain, 299)
