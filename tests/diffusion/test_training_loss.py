import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.diffusion import corruption, objectives, schedules, training_loss
from bitdiff.runtime.errors import UsageError

GAMMA = schedules.cosine()
L2 = objectives.l2("x0")


def keys(count, seed=0):
    return jax.random.split(jax.random.key(seed), count)


def test_corruption_keeps_unit_variance():
    x0 = jnp.sign(jax.random.normal(jax.random.key(0), (4, 50_000)))
    eps = jax.random.normal(jax.random.key(1), x0.shape)
    gamma_t = jnp.array([0.0, 0.3, 0.7, 1.0])
    x_t = corruption.corrupt(x0, eps, gamma_t)
    # The standard error of a variance over 50,000 values is below 0.007.
    np.testing.assert_allclose(x_t.var(axis=1), 1.0, atol=0.03)
    np.testing.assert_array_equal(x_t[0], eps[0])
    np.testing.assert_array_equal(x_t[3], x0[3])


@pytest.mark.parametrize("prediction", corruption.PREDICTIONS)
def test_a_perfect_output_recovers_x0(prediction):
    x0 = jnp.sign(jax.random.normal(jax.random.key(0), (5, 3, 4)))
    eps = jax.random.normal(jax.random.key(1), x0.shape)
    gamma_t = jnp.array([0.01, 0.2, 0.5, 0.9, 0.999])
    x_t = corruption.corrupt(x0, eps, gamma_t)
    output = corruption.target(x0, eps, gamma_t, prediction)
    estimate = corruption.estimate_x0(output, x_t, gamma_t, prediction=prediction, clip=None)
    np.testing.assert_allclose(estimate, x0, atol=1e-5)
    clipped = corruption.estimate_x0(output * 10, x_t, gamma_t, prediction=prediction, clip=0.5)
    assert jnp.abs(clipped).max() <= 0.5


def test_the_loss_equals_the_formula():
    x0 = jnp.sign(jax.random.normal(jax.random.key(0), (6, 8)))
    seen = {}

    def network(x_t, x0_prev, gamma_t, condition):
        seen.update(x_t=x_t, gamma_t=gamma_t)
        return 0.3 * x_t

    loss, t = training_loss.denoising_loss(network, x0, keys(6), gamma=GAMMA, objective=L2, self_cond_rate=0.0)
    np.testing.assert_allclose(seen["gamma_t"], GAMMA(t))
    np.testing.assert_allclose(loss, jnp.mean((0.3 * seen["x_t"] - x0) ** 2, axis=1), rtol=1e-6)
    assert loss.shape == t.shape == (6,)


@pytest.mark.parametrize("lag", [0.0, 4.0])
def test_each_noise_level_has_its_own_weight(lag):
    """The network's error is gamma_t, which the weight divides by: every loss is then 1."""
    x0 = jnp.zeros((6, 8, 5))

    def network(x_t, x0_prev, gamma_t, condition):
        return jnp.sqrt(gamma_t).reshape(6, -1, 1) * jnp.ones_like(x_t)

    options = {"gamma": GAMMA, "objective": L2, "self_cond_rate": 0.0, "lag": lag}
    loss, _ = training_loss.denoising_loss(network, x0, keys(6), weight=lambda gamma_t: 1.0 / gamma_t, **options)
    np.testing.assert_allclose(loss, 1.0, rtol=1e-5)


def test_positions_may_lag():
    x0, seen = jnp.zeros((2_000, 8, 5)), {}

    def network(x_t, x0_prev, gamma_t, condition):
        seen.update(x_t=x_t, gamma_t=gamma_t)
        return x_t

    training_loss.denoising_loss(network, x0, keys(2_000), gamma=GAMMA, objective=L2, self_cond_rate=0.0, lag=4.0)
    gamma_t = seen["gamma_t"]
    assert gamma_t.shape == (2_000, 8)
    assert (jnp.diff(gamma_t, axis=1) <= 0).all()  # the first positions are the cleanest
    # x0 is zero, so x_t is noise with variance 1 - gamma at each position: 80,000 unit normals.
    assert float(jnp.mean(seen["x_t"] ** 2 / (1 - gamma_t)[..., None])) == pytest.approx(1.0, abs=0.02)
    # Where lag exceeds 1, the first position is finished and the last has not started at a fraction
    # (lag - 1) / (lag + 1) of the times; the mean over lags from 0 to 4 is (3 - 2 log 2.5) / 4 = 0.29.
    apart = (gamma_t[:, 0] >= GAMMA(jnp.float32(0.0))) & (gamma_t[:, -1] <= GAMMA(jnp.float32(1.0)))
    assert float(apart.mean()) == pytest.approx(0.29, abs=0.04)


def test_times_are_uniform():
    _, t = training_loss.denoising_loss(
        lambda x, *_: x, jnp.zeros((20_000, 1)), keys(20_000), gamma=GAMMA, objective=L2
    )
    # The Kolmogorov-Smirnov distance of 20,000 uniform draws exceeds 0.0138 one time in a thousand.
    assert np.abs(np.sort(t) - np.linspace(0, 1, 20_000)).max() < 0.0138


def test_an_examples_noise_does_not_depend_on_its_batch():
    x0 = jnp.ones((8, 5))

    def network(x_t, x0_prev, gamma_t, condition):
        return x_t * 0.5 + x0_prev

    whole, t = training_loss.denoising_loss(network, x0, keys(8), gamma=GAMMA, objective=L2)
    part, t_part = training_loss.denoising_loss(network, x0[4:], keys(8)[4:], gamma=GAMMA, objective=L2)
    np.testing.assert_array_equal(t[4:], t_part)
    np.testing.assert_allclose(whole[4:], part, rtol=1e-6)


def test_self_conditioned_rows_are_a_fixed_fraction_spread_evenly():
    assert training_loss.self_conditioned_rows(8, 0.5).tolist() == [1, 3, 5, 7]
    assert training_loss.self_conditioned_rows(4, 0.25).tolist() == [3]
    assert training_loss.self_conditioned_rows(3, 0).tolist() == []
    assert training_loss.self_conditioned_rows(3, 1).tolist() == [0, 1, 2]
    assert len(training_loss.self_conditioned_rows(30, 0.9)) == 27
    with pytest.raises(UsageError, match=r"5 \* 0.5 must be an integer"):
        training_loss.self_conditioned_rows(5, 0.5)
    with pytest.raises(UsageError, match="from 0 to 1"):
        training_loss.self_conditioned_rows(4, 1.5)


@pytest.mark.parametrize("prediction", corruption.PREDICTIONS)
def test_self_conditioning_feeds_the_clipped_x0_estimate_to_half_the_batch(prediction):
    x0 = jnp.sign(jax.random.normal(jax.random.key(0), (6, 4)))
    calls = []

    def network(x_t, x0_prev, gamma_t, condition):
        calls.append((x_t, x0_prev, gamma_t, condition))
        return 0.7 * x_t + 0.1

    condition = jnp.arange(6)
    training_loss.denoising_loss(network, x0, keys(6), condition, gamma=GAMMA, objective=objectives.l2(prediction))
    (x_rows, zeros, gamma_rows, condition_rows), (x_t, x0_prev, gamma_t, _) = calls
    assert condition_rows.tolist() == [1, 3, 5]  # the first pass sees only half of the batch
    assert not zeros.any()
    np.testing.assert_array_equal(x_rows, x_t[1::2])
    np.testing.assert_array_equal(gamma_rows, gamma_t[1::2])
    expected = corruption.estimate_x0(0.7 * x_rows + 0.1, x_rows, gamma_rows, prediction=prediction, clip=1.0)
    np.testing.assert_allclose(x0_prev[1::2], expected, rtol=1e-6)
    assert not x0_prev[::2].any()


def test_no_gradient_flows_through_the_estimate():
    x0 = jnp.sign(jax.random.normal(jax.random.key(0), (6, 4)))

    def loss(first, second):
        weights = iter((first, second))

        def network(x_t, x0_prev, gamma_t, condition):
            return next(weights) * x_t + 0.5 * x0_prev

        return training_loss.denoising_loss(network, x0, keys(6), gamma=GAMMA, objective=L2)[0].mean()

    first, second = jax.grad(loss, argnums=(0, 1))(0.3, 0.6)
    assert first == 0.0
    assert second != 0.0
    assert loss(0.3, 0.6) != loss(0.2, 0.6)  # the estimate itself does affect the loss


def test_self_conditioning_costs_half_a_forward_pass():
    width = 256
    weights = jnp.ones((width, width))

    def flops(rate):
        def loss(weights, x0):
            def network(x_t, x0_prev, gamma_t, condition):
                return jnp.tanh((x_t + x0_prev) @ weights) @ weights

            return training_loss.denoising_loss(network, x0, keys(64), gamma=GAMMA, objective=L2, self_cond_rate=rate)[
                0
            ].mean()

        cost = jax.jit(jax.grad(loss)).lower(weights, jnp.ones((64, width))).compile().cost_analysis()
        return cost["flops"]

    # A step is a forward and two backward products per layer, except that the first layer's input needs
    # no gradient: 5 products for 2 layers. Half a forward pass is one more.
    assert flops(0.5) / flops(0.0) == pytest.approx(6 / 5, abs=0.02)


def test_logistic_loss_is_binary_cross_entropy():
    objective = objectives.logistic(0.5)
    x0 = jnp.array([[0.5, -0.5, 0.5]])
    f = jnp.array([[2.0, 1.0, -3.0]])
    p = 1 / (1 + np.exp(-np.asarray(f)))
    expected = -np.mean([np.log(p[0, 0]), np.log(1 - p[0, 1]), np.log(p[0, 2])])
    assert float(objective.error(f, x0)[0]) == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(objective.readout(f), (2 * p - 1) * 0.5, rtol=1e-6)
    assert jnp.isfinite(objective.error(f * 1e4, x0)).all()


def test_softmax_loss_is_cross_entropy():
    objective = objectives.softmax(3, 1.0)
    x0 = jnp.array([[-1.0, 1, -1, 1, -1, -1]])  # two one-hot groups
    f = jnp.array([[0.3, 1.0, -1.0, 2.0, 0.0, 0.5]])
    p = np.exp(np.asarray(f).reshape(2, 3))
    p /= p.sum(1, keepdims=True)
    assert float(objective.error(f, x0)[0]) == pytest.approx(-np.mean(np.log([p[0, 1], p[1, 0]])), rel=1e-6)
    np.testing.assert_allclose(objective.readout(f), 2 * p.reshape(1, 6) - 1, rtol=1e-5)


def test_factorized_softmax_averages_the_codes():
    codes = jnp.array([[1.0, 1], [-1, 1], [-1, -1]])
    readout = objectives.factorised_softmax(codes)
    np.testing.assert_allclose(readout(jnp.array([[50.0, 0, 0, 0, 0, 50]])), [[1, 1, -1, -1]], atol=1e-6)
    np.testing.assert_allclose(readout(jnp.zeros((1, 3))), [[-1 / 3, 1 / 3]], atol=1e-6)


def test_trained_guidance_moves_the_target_by_what_self_conditioning_adds():
    x0 = jnp.sign(jax.random.normal(jax.random.key(0), (6, 4)))
    weight, plain, guided = jnp.linspace(0.5, 3.0, 6), jnp.zeros(6), jnp.ones(6)
    calls = []

    def network(x_t, x0_prev, gamma_t, condition):
        calls.append((x_t, x0_prev, condition))
        return 0.7 * x_t + 0.2 * x0_prev

    guidance = training_loss.TrainedGuidance(weight, plain)
    loss, _ = training_loss.denoising_loss(
        network, x0, keys(6), guided, gamma=GAMMA, objective=L2, trained_guidance=guidance
    )
    assert [condition.tolist() for *_, condition in calls] == [[0.0] * 3, [0.0] * 3, [1.0] * 6]
    x_t, x0_prev, _ = calls[-1]
    excess = (weight - 1.0)[:, None] * 0.2 * x0_prev  # D(x0_prev) - D(0), and zero where x0_prev is
    np.testing.assert_allclose(loss, jnp.mean((0.7 * x_t + 0.2 * x0_prev - x0 - excess) ** 2, axis=1), rtol=1e-5)


def test_no_gradient_flows_through_the_trained_guidance():
    x0 = jnp.sign(jax.random.normal(jax.random.key(0), (6, 4)))
    guidance = training_loss.TrainedGuidance(jnp.full(6, 3.0), None)

    def loss(*factors):
        left = iter(factors)

        def network(x_t, x0_prev, gamma_t, condition):
            return next(left) * x_t + 0.5 * x0_prev

        return training_loss.denoising_loss(network, x0, keys(6), gamma=GAMMA, objective=L2, trained_guidance=guidance)[
            0
        ].mean()

    without, better, last = jax.grad(loss, argnums=(0, 1, 2))(0.3, 0.4, 0.6)
    assert without == better == 0.0
    assert last != 0.0
