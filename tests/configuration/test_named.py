"""Configurations by name."""

import pytest

from bitdiff import load_config
from bitdiff.configuration import named
from bitdiff.runtime.errors import UsageError


def test_a_name_is_a_file_that_comes_with_the_package():
    assert {"digits", "cifar10", "npz"} <= set(named.names())
    assert named.config_file("digits:gray").endswith("configs/digits.py:gray")
    assert load_config("digits:gray").bits.encoding == "gray"
    assert load_config("digits").bits.encoding == "uint"


def test_a_path_is_used_as_it_is(tmp_path):
    path = tmp_path / "my.py"
    path.write_text(
        "from bitdiff.configuration import base_config\n"
        "def get_config(variant=''):\n"
        "    config = base_config()\n"
        "    config.seed = 7 if variant == 'seven' else 1\n"
        "    return config\n"
    )
    assert named.config_file(f"{path}:seven") == f"{path}:seven"
    assert load_config(f"{path}:seven").seed == 7
    assert load_config(str(path)).seed == 1


@pytest.mark.parametrize("name", ["digit", "configs/none.py", "", "../digits"])
def test_an_unknown_name_lists_the_known_ones(name):
    with pytest.raises(UsageError, match=r"there is no config file .*names are: cifar10, coco, digits"):
        named.config_file(name)


def test_an_unknown_variant_lists_the_known_ones():
    with pytest.raises(UsageError, match=r"unknown variant 'grey' of configs/digits.py; its variants: uint, gray"):
        load_config("digits:grey")
