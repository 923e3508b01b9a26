"""Signals at every stage of a command: during imports, computation and training; and a second signal."""

import os
import select
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from bitdiff.runtime import interrupts
from bitdiff.runtime.interrupts import StopSignals

# The main thread stays inside one call that runs no Python instructions, as XLA's compiler does.
BUSY = """
import hashlib
from bitdiff.runtime import interrupts
{setup}
print("ready", flush=True)
hashlib.pbkdf2_hmac("sha256", b"x", b"y", 200_000_000)
"""


def start(code, tmp_path):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env, "cwd": tmp_path}
    return subprocess.Popen([sys.executable, "-c", code], **options)


def text_within(stream, seconds):
    ready, _, _ = select.select([stream], [], [], seconds)
    return os.read(stream.fileno(), 1000).decode().strip() if ready else ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_is_recorded(number):
    before = signal.signal(number, signal.SIG_DFL)  # the tests themselves may run under nohup
    try:
        with StopSignals(quiet=True) as stop:
            assert stop.received is None
            os.kill(os.getpid(), number)
            assert stop.received == number
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


def test_a_closed_terminal_is_ignored_under_nohup():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopSignals(quiet=True) as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.received is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_the_first_signal_is_reported_immediately_and_the_second_ends_the_process(tmp_path):
    process = start(
        BUSY.format(setup="interrupts.is_command = lambda: True; interrupts.StopSignals().__enter__()"), tmp_path
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    message = text_within(process.stderr, 5)
    assert message == "stopping after this step; press Ctrl-C again to stop now"
    time.sleep(2 * interrupts.SAME_SECONDS)
    process.send_signal(signal.SIGINT)
    assert process.wait(5) == 130


def test_a_second_signal_in_a_notebook_raises_keyboard_interrupt():
    reached = []

    def use():
        with interrupts.StopSignals(quiet=True) as stop:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)  # forwarded by a launcher: the same request
            time.sleep(2 * interrupts.SAME_SECONDS)
            reached.append(stop.received)
            os.kill(os.getpid(), signal.SIGINT)
            reached.append("not interrupted")

    with pytest.raises(KeyboardInterrupt):
        use()
    assert reached == [signal.SIGINT]


@pytest.mark.slow
def test_ctrl_c_ends_a_command_that_cannot_handle_it(tmp_path):
    process = start(BUSY.format(setup="interrupts.interrupt_promptly()"), tmp_path)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(6) == 130
    assert process.stderr.read().strip() == "interrupted"


COLLECTED = """
import gc, time
from bitdiff.runtime import interrupts

def wait(*args):
    print("ready", flush=True)
    time.sleep(30)

interrupts.interrupt_promptly()
gc.callbacks.append(wait)
gc.collect()
print("continued", flush=True)
time.sleep(30)
"""


@pytest.mark.slow
def test_ctrl_c_in_a_callback_of_the_garbage_collector_ends_a_command(tmp_path):
    process = start(COLLECTED, tmp_path)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert process.wait(6) == 130
    assert process.stderr.read().strip() == "interrupted"
    assert "continued" not in process.stdout.read()


@pytest.mark.slow
@pytest.mark.parametrize("delay", [0.3, 0.8, 1.5, 2.5])
def test_ctrl_c_while_a_command_starts_prints_one_line(tmp_path, delay):
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "bitdiff.train", "--config", "digits", "--workdir", str(tmp_path / "run")]
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": env, "cwd": tmp_path}
    process = subprocess.Popen(line, **options)
    time.sleep(delay)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert error.strip().splitlines()[-1] == "interrupted"
