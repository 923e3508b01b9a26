"""The lock on a workdir: who gets it, who is rejected, and that a crash releases it."""

import errno
import os
import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from bitdiff.runtime import locks
from bitdiff.runtime.errors import UsageError

HOLDER = """
import sys, time
from pathlib import Path
from bitdiff.runtime.locks import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(100)
"""


def test_a_lock_is_held_once_and_released(tmp_path):
    with locks.locked(tmp_path):
        message = rf"another training run is writing to .*: process {os.getpid()} on .*, since .* UTC; wait until"
        with pytest.raises(UsageError, match=message), locks.locked(tmp_path):
            pass
    with locks.locked(tmp_path):
        pass


def test_an_error_releases_the_lock(tmp_path):
    with pytest.raises(KeyError), locks.locked(tmp_path):
        raise KeyError("x")
    with locks.locked(tmp_path):
        pass


def test_a_file_system_without_locks_is_reported(tmp_path, monkeypatch, caplog):
    def flock(*arguments):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with locks.locked(tmp_path):
        pass
    assert "cannot be locked ([Errno 37] No locks available): make sure that no other training" in caplog.text


@pytest.mark.slow
def test_a_killed_process_releases_the_lock(tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, env=env, cwd=tmp_path, text=True
    )
    assert process.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match=f"process {process.pid} on"), locks.locked(tmp_path):
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    with locks.locked(tmp_path):
        pass
