import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.diffusion import schedules
from bitdiff.runtime.errors import UsageError

ALL = {
    "cosine": schedules.cosine(),
    "cosine 0.2-1, tau 2": schedules.cosine(0.2, 1.0, 2.0),
    "linear": schedules.linear(),
    "sigmoid": schedules.sigmoid(),
    "sigmoid 0-3, tau 0.9": schedules.sigmoid(0.0, 3.0, 0.9),
}


@pytest.mark.parametrize("gamma", ALL.values(), ids=ALL)
def test_schedules_fall_from_one_to_nearly_zero(gamma):
    t = np.linspace(0, 1, 1001)
    values = gamma(t)
    assert values.dtype == np.float64
    assert values[0] == pytest.approx(1, abs=2e-7)
    assert 0 < values[-1] < 1e-8
    assert (np.diff(values) <= 0).all()
    assert (np.diff(values[:-10]) < 0).all()  # the last values may be clipped


@pytest.mark.parametrize("gamma", ALL.values(), ids=ALL)
def test_jax_and_numpy_agree(gamma):
    t = np.linspace(0, 1, 101)
    # float32 keeps seven digits of a number up to 1.
    np.testing.assert_allclose(jax.jit(gamma)(jnp.asarray(t)), gamma(t), atol=5e-7)


def test_the_cosine_schedule_equals_the_papers():
    gamma = schedules.cosine()
    assert 1 - gamma(0.0) == pytest.approx(9.9e-8, rel=0.01)
    assert gamma(1.0) == pytest.approx(6.2e-9, rel=0.01)
    assert gamma(0.5) == pytest.approx(0.5, abs=2e-4)


def test_parametrized_schedules_equal_their_formulas():
    t = 0.3
    y = [np.cos(v * np.pi / 2) ** 4 for v in (0.2, 0.2 + 0.6 * t, 0.8)]
    assert schedules.cosine(0.2, 0.8, 2.0)(t) == pytest.approx((y[1] - y[2]) / (y[0] - y[2]))
    assert schedules.cosine(tau=1.0)(t) == pytest.approx(np.cos(t * np.pi / 2) ** 2)
    s = [1 / (1 + np.exp(-v / 0.5)) for v in (-3, -3 + 6 * t, 3)]
    assert schedules.sigmoid(tau=0.5)(t) == pytest.approx((s[2] - s[1]) / (s[2] - s[0]))
    assert schedules.sigmoid()(0.5) == pytest.approx(0.5)
    assert schedules.linear()(t) == pytest.approx(0.7)


@pytest.mark.parametrize("gamma", ALL.values(), ids=ALL)
def test_the_inverse_gives_the_time(gamma):
    t = np.linspace(0.01, 0.95, 95)  # beyond these a schedule may be clipped
    np.testing.assert_allclose(schedules.inverse(gamma)(gamma(t)), t, atol=1e-5)
    # In float32, gamma is 1 - O(t^2) near t = 0, which leaves fewer digits for t.
    result = jax.jit(lambda t: schedules.inverse(gamma)(gamma(t)))(jnp.asarray(t))
    np.testing.assert_allclose(result, t, atol=2e-4)


def test_later_positions_lag():
    t = np.array([1.0, 0.75, 0.5, 0.25, 0.0])
    np.testing.assert_array_equal(schedules.lagged(t, 3, 0.0), np.stack([t, t, t], axis=1))
    times = schedules.lagged(t, 3, 1.0)  # the first finishes when the last begins
    np.testing.assert_allclose(times.T, [[1, 0.5, 0, 0, 0], [1, 1, 0.5, 0, 0], [1, 1, 1, 0.5, 0]])
    np.testing.assert_allclose(schedules.lagged(jnp.asarray(t), 3, 1.0), times)
    assert schedules.lagged(0.5, 1, 4.0).shape == (1,)


def test_options_that_are_none_use_the_schedules_defaults():
    options = {"start": None, "end": None, "tau": None}
    assert schedules.make_schedule("cosine", options)(0.3) == schedules.cosine()(0.3)
    assert schedules.make_schedule("sigmoid", options | {"tau": 0.7})(0.3) == schedules.sigmoid(tau=0.7)(0.3)


def test_bad_input_is_reported():
    with pytest.raises(UsageError, match="unknown schedule 'cos'; valid names are: cosine, linear, sigmoid"):
        schedules.make_schedule("cos")
    with pytest.raises(UsageError, match=r"unknown option of the sigmoid schedule 'temperature'.*start, end, tau"):
        schedules.make_schedule("sigmoid", {"temperature": 1.0})
    with pytest.raises(UsageError, match="tau > 0"):
        schedules.make_schedule("cosine", {"tau": 0.0})
    with pytest.raises(UsageError, match="start < end"):
        schedules.sigmoid(3.0, -3.0)


def test_a_measured_schedule_passes_through_its_levels():
    levels = (6.0, 1.0, -0.5, -7.0)
    for gamma in (schedules.measured(levels), schedules.make_schedule("measured", {"levels": levels, "tau": None})):
        for t in (np.linspace(0, 1, 4), jnp.linspace(0, 1, 4)):
            np.testing.assert_allclose(gamma(t), 1 / (1 + np.exp(-np.array(levels))), rtol=1e-5)
    assert gamma(0.5) == pytest.approx(1 / (1 + np.exp(-0.25)))
    assert schedules.make_schedule("cosine", {"levels": levels})(0.5) == schedules.cosine()(0.5)
    with pytest.raises(UsageError, match=r"there are no measured levels: run bitdiff.schedule"):
        schedules.measured()
    for bad in ((1.0,), (0.0, 1.0)):
        with pytest.raises(UsageError, match="two or more levels that decrease"):
            schedules.measured(bad)
