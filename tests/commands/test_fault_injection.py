import fault_injection
import pytest


@pytest.mark.slow
def test_a_repeatedly_killed_run_equals_an_uninterrupted_one(tmp_path):
    done = fault_injection.inject(tmp_path, kills=1, save_kills=1, longest=20.0, seed=0)
    assert (done["kills"], done["kills while saving"]) == (1, 1)
