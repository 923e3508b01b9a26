"""Plans: the costs of compiled programs, their bounds, and the errors, on devices of this machine and of a slice."""

import importlib.util
import json

import jax
import numpy as np
import pytest
from conftest import TINY_FLAGS, tiny_config

from bitdiff import data
from bitdiff.configs import digits, mixture, shapes, toy_disco
from bitdiff.configuration import load_config
from bitdiff.planning import costs, largest, plans, programs, slices
from bitdiff.planning.chips import CHIPS, has_shape
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task

HERE = slices.Slice("here", CHIPS["v5e"], tuple(jax.devices()))  # so that no libtpu is needed
with_libtpu = pytest.mark.skipif(importlib.util.find_spec("libtpu") is None, reason="libtpu is not installed")


def resolved(config):
    return data.resolve(config, data.load(config.data))


@pytest.mark.parametrize("module", [digits, mixture, shapes, toy_disco])
def test_blank_examples_have_the_shapes_of_the_data(module):
    config = resolved(module.get_config())
    example = data.load(config.data).train[0]
    blank = programs.blank_examples(config, make_task(config))
    if "tokens" in example and config.encoder:
        example["tokens"] = example["tokens"][: config.data.captions_drawn or None]
    expected = {name: (np.shape(value), np.asarray(value).dtype) for name, value in example.items()}
    assert {name: (value.shape[1:], value.dtype) for name, value in blank.items()} == expected


@pytest.mark.parametrize("variant", ["disco", "prior", "confidence"])
def test_docking_is_planned_without_data(variant):
    config = load_config(f"docking:{variant}")
    task = make_task(config)
    blank = programs.blank_examples(config, task)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    loss, _ = jax.eval_shape(task.loss, jax.eval_shape(task.init, jax.random.key(0)), blank, keys)
    assert loss.shape == ()
    assert programs.sampler_steps(config) == (20, 1)
    shapes, _ = programs._conditions(config, task, 3)
    assert shapes["positions"].shape == (3, 60, 3)


def test_a_size_that_only_the_data_state_is_reported():
    config = digits.get_config()
    config.data.update(vocab_size=17, channels=1, image_size=0)
    with pytest.raises(UsageError, match=r"config.data.image_size is 0 \(to be inferred from the data\)"):
        programs.blank_examples(config, make_task(resolved(digits.get_config())))


@pytest.mark.parametrize(
    ("cost", "flops", "binds", "seconds"),
    [
        (costs.Cost(0.0, 819e9, 0.0, 0.0, 0, 0, 0), 98.5e12, "memory", 1.0),
        (costs.Cost(0.0, 819e6, 1e12, 0.0, 0, 0, 0), 98.5e12, "compute", 0.5),
        (costs.Cost(0.0, 819e6, 0.0, 400e9, 0, 0, 0), 98.5e12, "interconnect", 2.0),
    ],
)
def test_the_largest_bound_binds(cost, flops, binds, seconds):
    bound = costs.bound_of(cost, flops, CHIPS["v5e"])
    assert (bound.binds, bound.seconds) == (binds, pytest.approx(seconds))


@pytest.mark.slow
def test_the_numbers_are_those_of_the_compiled_programs():
    config = resolved(tiny_config())
    config.train.batch_size = 8 * len(HERE.devices)
    training = plans.plan(config, HERE, "training")
    params = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(make_task(config).init, jax.random.key(0))))
    # Weights, two moments of Adam and the moving average, and eight small images and labels.
    assert training["state_bytes"] == pytest.approx(16 * params, rel=0.1)
    assert training["rows_per_device"] == 8
    assert training["peak_bytes"] > 0.9 * training["state_bytes"]
    assert training["days"] == pytest.approx(training["bound_seconds"] * config.train.steps / 86_400)
    count = len(HERE.devices)
    assert training["exchanged_bytes"] == pytest.approx(2 * (count - 1) / count * 4 * params, rel=0.01)
    config.train.batch_size *= 2
    assert plans.plan(config, HERE, "training")["model_flops"] == pytest.approx(2 * training["model_flops"], rel=0.01)
    parts = config.copy_and_resolve_references()
    parts.train.accumulate = 4
    accumulated, whole = plans.plan(parts, HERE, "training"), plans.plan(config, HERE, "training")
    # The optimizer's FLOPs are counted four times; the network's are counted once per part of the batch.
    assert accumulated["flops_over_model"] == pytest.approx(whole["flops_over_model"], rel=0.2)
    found = []
    for steps in (3, 30):
        config.sample.steps = steps
        found.append(plans.plan(config, HERE, "sampling"))
    few, many = found
    assert few["model_flops"] == pytest.approx(many["model_flops"], rel=0.01)
    # Outside the loop, a CPU counts the histogram of the bits, which it computes one value at a time.
    steps = 30 * many["bytes_over_evaluation"] - 3 * few["bytes_over_evaluation"]
    assert steps / 27 == pytest.approx(1.0, abs=0.15)
    config.sample.update(sampler="heun", schedule="auto")
    second = plans.plan(config, HERE, "sampling")
    assert second["model_flops"] == pytest.approx(2 * many["model_flops"], rel=0.1)
    assert second["flops_over_model"] == pytest.approx(many["flops_over_model"], rel=0.2)
    table = plans.table({"here": training, "there": {"error": "no memory"}})
    assert len(table.splitlines()) == 4
    assert "no memory" in table


@pytest.mark.slow
def test_the_sampler_of_a_model_without_conditions_is_planned():
    config = resolved(toy_disco.get_config("plain"))
    config.sample.batch_size = len(HERE.devices)
    assert plans.plan(config, HERE, "sampling")["bytes_over_evaluation"] > 0


@pytest.mark.slow
def test_a_sampling_batch_is_rounded_up_and_tokens_are_steps_of_an_autoregressive_model():
    config = tiny_config()
    config.sample.batch_size = 1
    assert plans.plan(resolved(config), HERE, "sampling")["rows_per_device"] == 1
    captions = resolved(shapes.get_config("autoregressive"))
    assert programs.sampler_steps(captions) == (13, 1)
    captions.sample.batch_size = len(HERE.devices)
    captions.network.update(dim=32, layers=1)
    found = plans.plan(captions, HERE, "sampling")
    assert found["model_flops"] > 0
    assert "flops_over_model" not in found
    assert "| here | 1 |" in plans.table({"here": found})


@pytest.mark.parametrize(
    ("chip", "shape", "exists"),
    [
        ("v5e", "4x8", True),
        ("v5e", "2x2x2", False),
        ("v5e", "6x10", False),
        ("v5e", "32x32", False),
        ("v4", "2x2x1", True),
        ("v4", "4x4x12", True),
        ("v4", "6x2x1", False),
        ("v4", "2x2", False),
        ("v5p", "8x4x4", False),
    ],
)
def test_shapes_of_slices(chip, shape, exists):
    assert has_shape(CHIPS[chip], shape) == exists
    if not exists:
        with pytest.raises(UsageError, match=f"there are no slices '{chip}:{shape}'; the shapes of {chip} are"):
            slices.describe(f"{chip}:{shape}")


def test_a_batch_that_does_not_divide_is_reported():
    config = resolved(tiny_config())
    four = slices.Slice("four", CHIPS["v5e"], (jax.devices()[0],) * 4)
    config.train.batch_size = 6
    with pytest.raises(
        UsageError, match=r"batch_size is 6; it must be a positive multiple of 4, the number of devices"
    ):
        programs.compile_training(config, four)
    config.train.update(batch_size=8, accumulate=4)
    with pytest.raises(UsageError, match=r"config.train.accumulate is 4; it must divide the 2 examples per device"):
        programs.compile_training(config, four)


@pytest.mark.parametrize("limit", [1, 5, 12, 100])
def test_the_largest_batch_is_found_by_bisection(monkeypatch, limit):
    tried = []

    def plan(config, on, part):
        rows = config.train.batch_size // len(on.devices)
        tried.append(rows)
        return {"rows_per_device": rows} if rows <= limit else {"error": "RESOURCE_EXHAUSTED: out of memory"}

    monkeypatch.setattr(plans, "plan", plan)
    config = tiny_config()
    config.train.batch_size = 8 * len(HERE.devices)
    found = largest.largest_batch(config, HERE)["rows_per_device"]
    assert found <= limit < found + max(2, 0.15 * limit)
    assert len(tried) == len(set(tried)) < 12
    monkeypatch.setattr(plans, "plan", lambda *_: {"error": "INTERNAL: a defect"})
    tried.clear()
    assert largest.largest_batch(config, HERE) == {"error": "INTERNAL: a defect"}
    monkeypatch.setattr(plans, "plan", lambda *_: {"error": "RESOURCE_EXHAUSTED: out of memory"})
    assert largest.largest_batch(config, HERE) == {"error": "RESOURCE_EXHAUSTED: out of memory"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tpu", "the topology is 'tpu'; it must be a chip type and a slice shape, for example v5e:2x2"),
        ("v9:2x2", r"unknown chip \(--topology\) 'v9'; valid names are: v4, v5e, v5p, v6e"),
    ],
)
def test_unknown_topologies_are_reported(name, message):
    with pytest.raises(UsageError, match=message):
        slices.describe(name)


def test_a_missing_libtpu_is_reported(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"compiling for TPUs requires libtpu: pip install libtpu"):
        slices.describe("v5e:2x2")


@with_libtpu
@pytest.mark.parametrize(("name", "count"), [("v5e:1x1", 1), ("v5e:2x2", 4), ("v4:2x2x1", 4), ("v6e:4x4", 16)])
def test_a_slice_has_one_device_per_chip(name, count):
    assert len(slices.describe(name).devices) == count


@with_libtpu
@pytest.mark.slow
def test_a_tiny_model_is_planned_for_a_slice(command, tmp_path):
    arguments = ["--config", "digits", *TINY_FLAGS, "--topology", "v5e:2x2", "--out", tmp_path / "plan.json"]
    code, output = command("plan", *arguments)
    assert code == 0, output
    parts = json.loads((tmp_path / "plan.json").read_text())["parts"]
    assert set(parts) == {"training v5e:2x2", "sampling v5e:2x2"}
    config = resolved(tiny_config())
    params = sum(leaf.size for leaf in jax.tree.leaves(jax.eval_shape(make_task(config).init, jax.random.key(0))))
    # Gradients of four bytes per parameter are reduced over four devices.
    assert parts["training v5e:2x2"]["exchanged_bytes"] == pytest.approx(2 * 0.75 * 4 * params, rel=0.02)
    code, output = command("plan", *arguments)  # nothing is compiled again
    assert code == 0, output
    assert "compiling" not in output
    code, output = command("plan", "--compare", f"{tmp_path / 'plan.json'},{tmp_path / 'plan.json'}")
    assert code == 0, output
    assert "training v5e:2x2.hbm_bytes" in output
    code, output = command("plan", *arguments[:-2], "--topology", "v5e:3x3")
    assert code == 2
    assert "there are no slices 'v5e:3x3'" in output
    code, output = command("plan", *arguments, "--config.train.steps=7")
    assert code == 2
    assert "holds the plan of another config or from other versions" in output
