import jax
import numpy as np
import optax
import pytest

from bitdiff import data
from bitdiff.data.dataset import stack
from bitdiff.runtime import devices
from bitdiff.tasks import make_task
from bitdiff.training.state import init_state
from bitdiff.training.step import Rows, make_test_loss, make_train_step


@pytest.fixture
def parts(make_config):
    config = make_config()
    dataset = data.load(config.data)
    config = data.resolve(config, dataset)
    examples = stack(dataset.train, 16) | {"empty": np.zeros((16, 0, 2))}  # like the torsions of rigid ligands
    rows = Rows(examples, np.arange(16, dtype=np.int32), np.zeros(16, np.float32))
    return make_task(config), devices.split(rows)


@pytest.mark.slow
def test_accumulated_gradients_equal_those_of_the_whole_batch(parts):
    task, rows = parts
    optimizer = optax.sgd(1.0)
    results = {}
    for accumulate in (1, 4):
        state = devices.replicate(jax.jit(lambda: init_state(task.init(jax.random.key(0)), optimizer))())
        step = make_train_step(task, optimizer, ema_decay=0.5, accumulate=accumulate, key=jax.random.key(1))
        results[accumulate] = step(state, rows)
    (whole, metrics), (summed, metrics4) = results.values()
    # The same examples with the same noise, summed in another order in float32.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-6), whole.params, summed.params)
    np.testing.assert_allclose(metrics["loss"], metrics4["loss"], rtol=1e-6)
    np.testing.assert_allclose(metrics["grad_norm"], metrics4["grad_norm"], rtol=1e-5)


@pytest.mark.slow
def test_a_stop_signal_to_one_process_reaches_all(parts):
    task, rows = parts
    optimizer = optax.sgd(0.1)
    step = make_train_step(task, optimizer, ema_decay=0.5, accumulate=1, key=jax.random.key(1))
    for stop_signal in (0.0, 15.0):
        state = devices.replicate(jax.jit(lambda: init_state(task.init(jax.random.key(0)), optimizer))())
        _, metrics = step(state, rows._replace(stop=np.full_like(rows.stop, stop_signal)))
        assert float(metrics["stop"]) == stop_signal


def test_the_test_loss_is_the_mean_over_rows(parts):
    task, rows = parts
    params = jax.jit(task.init)(jax.random.key(0))
    key = jax.random.key(2)
    value = make_test_loss(task, key)(devices.replicate(params), rows)
    keys = jax.vmap(jax.random.fold_in, (None, 0))(key, np.arange(16))
    expected, _ = jax.jit(task.loss)(params, devices.join(rows.examples), keys)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
