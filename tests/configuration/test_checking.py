"""The check of every configuration field: what it accepts, and its errors for what it rejects."""

import copy
import json

import ml_collections
import pytest

from bitdiff.configs import shapes_disco
from bitdiff.configuration import base, base_config, load_config, sections
from bitdiff.configuration.checking import check_config
from bitdiff.configuration.fields import Field, integers
from bitdiff.configuration.named import names
from bitdiff.configuration.upgrades import upgraded
from bitdiff.data.resizing import METHODS
from bitdiff.data.tokenizer import KINDS
from bitdiff.diffusion import bits, objectives, schedules
from bitdiff.diffusion.corruption import PREDICTIONS
from bitdiff.metrics.captions import TOKENIZERS
from bitdiff.networks.latent_networks import LATENT_ENCODERS
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks.parts import HEADS
from bitdiff.tasks.prior import PRIORS
from bitdiff.training.optimizer import OPTIMIZERS
from bitdiff.training.workdir import plain


@pytest.mark.parametrize("name", names())
def test_every_config_is_accepted_even_after_a_round_trip_through_json(name):
    config = load_config(name)
    check_config(config)
    check_config(ml_collections.ConfigDict(json.loads(json.dumps(plain(config)))))


def test_the_choices_are_those_of_the_code():
    assert set(base.BITS["encoding"].choices) == {*bits.ENCODINGS, "continuous"}
    assert set(base.DIFFUSION["schedule"].choices) == set(schedules.SCHEDULES)
    assert set(base.SAMPLE["schedule"].choices) == {*schedules.SCHEDULES, "auto"}
    assert set(base.DIFFUSION["prediction"].choices) == set(PREDICTIONS)
    assert set(base.DIFFUSION["loss"].choices) == set(objectives.LOSSES)
    assert set(base.DIFFUSION["head"].choices) == set(HEADS)
    assert set(base.OPTIMIZER["name"].choices) == set(OPTIMIZERS)
    assert set(base.PRIOR["model"].choices) == {*PRIORS, "pointers"}
    assert set(base.DATA["resize"].choices) == set(METHODS)
    assert set(base.DATA["tokenizer_kind"].choices) == set(KINDS)
    assert set(base.EVALUATE["tokenizer"].choices) == set(TOKENIZERS)
    assert set(sections.LATENT_ENCODER["kind"].choices) == set(LATENT_ENCODERS)


def damaged(**changes):
    config = plain(load_config("digits"))
    for path, value in changes.items():
        *parts, name = path.split("__")
        section = config
        for part in parts:
            section = section[part]
        section[name] = value
    return config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": []}, r"config.network is \[\]; it must be a section"),
        ({"network": "unet"}, "config.network is 'unet'; it must be a section"),
        ({"network": {}}, "config.network has no name; valid names are: unet, transformer, mlp"),
        ({"network": {"name": ["unet"]}}, r"config.network.name is \['unet'\]; it must be text"),
        ({"train": None}, "config.train is None; it must be a section with the fields steps, batch_size"),
        ({"seed": "0"}, r"config.seed is '0'; it must be an integer from 0 to 2\^31 - 1"),
        ({"seed": True}, "config.seed is True"),
        ({"seed": 2**31}, "config.seed is 2147483648"),
        ({"network__dim": 0}, r"config.network.dim is 0; it must be an integer from 1 to 2\^16"),
        ({"network__dim": -32}, "config.network.dim is -32"),
        ({"network__dim": 32.0}, "config.network.dim is 32.0"),
        (
            {"network__multipliers": []},
            "multipliers is .*; it must be a tuple of one or more integers",
        ),
        ({"network__multipliers": 2}, "multipliers is 2"),
        ({"train__batch_size": 10**12}, r"batch_size is 1000000000000; it must be an integer from 1 to 2\^24"),
        (
            {"optimizer__learning_rate": float("nan")},
            "learning_rate is nan; it must be a finite number above 0 and",
        ),
        ({"optimizer__learning_rate": float("inf")}, "learning_rate is inf"),
        ({"optimizer__learning_rate": -1e-4}, "learning_rate is -0.0001"),
        ({"optimizer__learning_rate": 10**400}, "learning_rate is 1000"),
        ({"optimizer__clip_norm": float("nan")}, "clip_norm is nan; it must be a finite number, 0 or more"),
        ({"optimizer__warmup_steps": -1}, "warmup_steps is -1"),
        ({"optimizer__ema_decay": 1.0}, "ema_decay is 1.0; it must be a finite number of at least 0 and below 1"),
        ({"sample__guidance": 1e38}, "guidance is 1e\\+38; it must be a finite number from -1000 to 1000"),
        ({"sample__schedule_options": {"start": "low"}}, "schedule_options.end is missing"),
        ({"sample__restarts": [[1, 2]]}, r"restarts is \[\[1, 2\]\]; it must be a tuple of tuples \(steps, times"),
        ({"sample__churn": [0, 0]}, "churn is \\[0, 0\\]; it must be a tuple of 3 numbers, 0 or more"),
        ({"data__flip": 1}, "flip is 1; it must be True or False"),
        ({"first": 3}, "config.first is 3; it must be a config, or empty"),
        ({"first": {"seed": 1}}, "config.first.task is missing"),
        ({"train__step": 5}, r"there is no field config.train.step; did you mean config.train.steps\?"),
        ({"zebra": {}}, "there is no field config.zebra; the fields are: bits, blocks, checkpoint"),
    ],
)
def test_a_bad_value_is_refused_with_what_is_valid(changes, message):
    with pytest.raises(UsageError, match=message):
        check_config(damaged(**changes))


@pytest.mark.parametrize("value", [None, [], "text", 3, {}, [[[[]]]]])
def test_what_is_not_a_config_is_refused(value):
    with pytest.raises(UsageError, match=r"config is .*must have sections|is missing"):
        check_config(value)


def test_a_missing_field_is_named():
    config = damaged()
    del config["train"]["steps"]
    with pytest.raises(UsageError, match=r"config.train.steps is missing: the config was written by an incompatible"):
        check_config(config)


def test_only_a_custom_task_may_have_other_fields_and_no_network():
    config = base_config()
    config.mine = 3
    with pytest.raises(UsageError, match=r"no field config.mine"):
        check_config(config)
    check_config(config, extra=True)


def test_a_long_value_is_shortened():
    with pytest.raises(UsageError) as error:
        check_config(damaged(task=list(range(1000))))
    assert len(str(error.value)) < 150


@pytest.mark.parametrize("table", [base.TOP, base.DATA, base.OPTIMIZER, base.TRAIN, base.SAMPLE, sections.UNET])
def test_every_default_is_valid_and_every_field_is_described(table):
    for name, field in table.items():
        assert field.accepts(field.default), name
        assert field.about, name
        assert not field.about.endswith("."), name


def test_bounds_are_inclusive_unless_stated():
    assert integers((1,), "", 1, 4).accepts((1, 4))
    assert not integers((1,), "", 1, 4).accepts((5,))
    assert not Field(0.5, "", "number", 0.0, 1.0, above=True).accepts(0.0)
    assert not Field(0.5, "", "number", 0.0, 1.0, below=True).accepts(1)


def test_a_config_of_an_earlier_version_takes_the_defaults_of_later_fields():
    config = shapes_disco.get_config("prior").to_dict()
    old = copy.deepcopy(config)
    for part in (old, old["first"]):
        del part["blocks"], part["data"]["distilled"], part["latents"]["kl"], part["sample"]["churn_fraction"]
        del part["prior"]["sample"]["churn_fraction"]
    config["latents"]["kl"] = config["first"]["latents"]["kl"] = 0.0  # what the earlier version trained
    assert upgraded(old) == config
    check_config(upgraded(old))
    del old["sample"]["td"]
    with pytest.raises(UsageError, match=r"config.sample.td is missing"):
        check_config(upgraded(old))
    assert upgraded([1]) == [1]
