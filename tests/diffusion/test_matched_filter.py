"""The matched filter: with a network of zeros, the estimate is the exact posterior mean of independent bits."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.configs import mixture
from bitdiff.diffusion import bits, objectives
from bitdiff.diffusion.matched_filter import bit_log_odds, code_logits
from bitdiff.diffusion.oracle import bayes_denoiser
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.denoiser import Layout, evaluate_network, init_params, join, make_denoiser

KEY = jax.random.key(0)


@pytest.mark.parametrize("scale", [0.3, 1.0])
@pytest.mark.parametrize("gamma", [1e-4, 0.2, 0.7, 0.99])
def test_zero_logits_give_the_posterior_mean_of_independent_bits(scale, gamma):
    states = scale * np.array(list(itertools.product([-1.0, 1.0], repeat=3)), np.float32)
    x_t = jax.random.normal(KEY, (64, 3)) * np.sqrt(1 - gamma) + np.sqrt(gamma) * states[:64:1][np.arange(64) % 8]
    gamma_t = jnp.full(64, gamma)
    exact = bayes_denoiser(jnp.asarray(states), np.full(8, 1 / 8))(x_t, jnp.zeros_like(x_t), gamma_t)
    estimate = objectives.sigmoid(scale)(bit_log_odds(x_t, gamma_t, scale))
    np.testing.assert_allclose(estimate, exact, atol=2e-3 * scale)  # bounded log odds and float32


@pytest.mark.parametrize("encoding", ["uint", "gray", "one_hot"])
def test_zero_logits_give_the_posterior_of_equally_likely_codes(encoding):
    codec = bits.make_codec(encoding, 8, 0.5)
    codes = codec.encode(jnp.arange(8)[:, None])
    x_t = 0.6 * codes[jnp.arange(32) % 8] + 0.8 * jax.random.normal(KEY, (32, codec.num_bits))
    gamma_t = jnp.full(32, 0.36)
    exact = bayes_denoiser(codes, np.full(8, 1 / 8))(x_t, jnp.zeros_like(x_t), gamma_t)
    logits = code_logits(bit_log_odds(x_t, gamma_t, 0.5), codes)
    np.testing.assert_allclose(objectives.factorised_softmax(codes)(logits), exact, atol=1e-4)


@pytest.mark.parametrize(
    ("encoding", "changes"),
    [
        ("uint", {"head": "sigmoid"}),
        ("gray", {"loss": "logistic"}),
        ("uint_rand", {"head": "factorised_softmax", "loss": "cross_entropy"}),
        ("uint", {"head": "sigmoid", "lag": 2.0}),
    ],
)
@pytest.mark.parametrize("scale", [0.4, 1.0])
def test_a_model_with_weights_of_zero_is_bayes_optimal_for_independent_values(encoding, changes, scale):
    config = mixture.get_config(encoding)
    config.network.update(dim=8, layers=1, head_dim=8)
    config.bits.scale = scale
    config.diffusion.update(matched_filter=True, **changes)
    model = make_denoiser(config, Layout("tokens", (2,), 1))
    params = jax.tree.map(jnp.zeros_like, init_params(model, KEY))
    signals = [condition.embed(params, jnp.full(64, -1), True) for condition in model.conditions]
    inputs = join(model, params, signals, 64)
    codes = model.codec.encode(jnp.arange(16)[:, None])
    exact = bayes_denoiser(codes, np.full(16, 1 / 16))
    for gamma in (0.05, 0.5, 0.95):
        # With a lag, every position has its own level.
        gamma_t = jnp.array([gamma, gamma / 2]) * jnp.ones((64, 2)) if "lag" in changes else jnp.full(64, gamma)
        per_value = jnp.broadcast_to(gamma_t.reshape(64, -1), (64, 2))
        x0 = codes[jax.random.randint(KEY, (64, 2), 0, 16)]
        x_t = jnp.sqrt(per_value)[..., None] * x0 + jnp.sqrt(1 - per_value)[..., None] * jax.random.normal(
            KEY, x0.shape
        )
        output = evaluate_network(model, params, x_t, jnp.zeros_like(x_t), gamma_t, inputs)
        flat = x_t.reshape(128, -1)
        expected = exact(flat, jnp.zeros_like(flat), per_value.reshape(-1)).reshape(x_t.shape)
        np.testing.assert_allclose(model.objective.readout(output), expected, atol=1e-3 * scale)  # float32


def test_positions_have_their_own_noise_levels():
    x_t, gamma_t = jax.random.normal(KEY, (2, 3, 4)), jnp.linspace(0.1, 0.9, 6).reshape(2, 3)
    for i in range(3):
        np.testing.assert_allclose(
            bit_log_odds(x_t, gamma_t, 1.0)[:, i], bit_log_odds(x_t[:, i], gamma_t[:, i], 1.0), rtol=1e-6
        )


def test_it_is_refused_without_logits():
    config = mixture.get_config()
    config.diffusion.matched_filter = True
    with pytest.raises(UsageError, match="requires bits, and a network that outputs logits"):
        make_denoiser(config, Layout("tokens", (2,), 1))
    config.diffusion.head = "sigmoid"
    assert make_denoiser(config, Layout("tokens", (2,), 1)).residual is not None
