"""Rows of several processes: gathered in order, whatever their dtype and shape."""

import jax
import numpy as np
import pytest
from jax.experimental import multihost_utils

from bitdiff.runtime import processes


@pytest.mark.parametrize(
    "rows", [np.arange(6.0).reshape(3, 2), np.zeros((3, 0, 2), np.int32), np.zeros((0, 2), np.float32)]
)
def test_rows_are_gathered_also_if_they_are_empty(monkeypatch, rows):
    monkeypatch.setattr(jax, "process_count", lambda: 2)
    monkeypatch.setattr(multihost_utils, "process_allgather", lambda array: np.stack([array, array]))
    gathered = processes.gather({"rows": rows})["rows"]
    assert gathered.dtype == rows.dtype
    np.testing.assert_array_equal(gathered, np.concatenate([rows, rows]))
