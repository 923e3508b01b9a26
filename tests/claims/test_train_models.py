"""Tests of training and measuring in subprocesses."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import tiny_claim

from bitdiff import findings
from bitdiff.claims import findings_report, job_pool
from bitdiff.claims.catalog import CLAIMS
from bitdiff.claims.claim import Model
from bitdiff.claims.job_pool import Stopped
from bitdiff.claims.train_models import runs_of, train_models
from bitdiff.runtime.errors import UsageError
from bitdiff.training.trainer import train

_MODELS = {
    "plain": tiny_claim.MODEL,
    "latents": Model("toy_disco:disco"),
    "prior": Model("toy_disco:prior", first="latents"),
}


def test_runs_include_those_they_depend_on(tmp_path):
    runs = runs_of(_MODELS, ["prior", "latents", "plain"], tmp_path, 3)
    assert [run.folder.name for run in runs] == ["latents_3", "prior_3", "plain_3"]
    assert [run.after for run in runs] == [None, tmp_path / "latents_3", None]
    assert [run.config.seed for run in runs] == [3, 3, 3]
    assert runs[1].config.first_run == str(tmp_path / "latents_3")
    assert "--config.network.multipliers=(1,)" in runs[2].arguments
    assert not any(run.is_finished() for run in runs)


def _pretend(monkeypatch, program):
    """Replaces training runs with a program, given the folder; returns the folders in the order of their start."""
    started = []

    def start(job, worker, workers):
        del worker, workers
        folder = job.log.with_suffix("")
        started.append(folder.name)
        return subprocess.Popen([sys.executable, "-c", program, str(folder)])

    monkeypatch.setattr(job_pool, "_start", start)
    return started


def test_a_run_waits_for_the_one_it_depends_on(tmp_path, monkeypatch):
    program = (
        "import sys, time, pathlib; folder = pathlib.Path(sys.argv[1]); time.sleep(0.3 * ('latents' in folder.name));"
        "assert 'prior' not in folder.name or (folder.parent / 'latents_0').exists(); folder.mkdir()"
    )
    started = _pretend(monkeypatch, program)
    assert train_models(runs_of(_MODELS, list(_MODELS), tmp_path, 0), 2) is None
    assert started == ["latents_0", "plain_0", "prior_0"]


def test_long_chains_start_first(tmp_path, monkeypatch):
    started = _pretend(monkeypatch, "import sys, pathlib; pathlib.Path(sys.argv[1]).mkdir()")
    models = _MODELS | {"student": Model("toy_disco:prior", first="prior")}
    runs = [run for seed in range(3) for run in runs_of(models, ["plain", "student"], tmp_path, seed)]
    assert train_models(runs, 2) is None
    # Otherwise, the chain of the last seed would be trained alone at the end.
    assert started[:6] == [f"{name}_{seed}" for name in ("latents", "prior") for seed in range(3)]
    assert sorted(started[6:]) == sorted(f"{name}_{seed}" for name in ("plain", "student") for seed in range(3))


def test_a_signal_stops_all_runs(tmp_path, monkeypatch):
    program = (
        "import pathlib, signal, sys, time; folder = pathlib.Path(sys.argv[1]);"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(folder.with_suffix('.saved').touch()));"
        "folder.with_suffix('.ready').touch(); time.sleep(60)"
    )
    started = _pretend(monkeypatch, program)

    def stop_when_ready():
        while len(list(tmp_path.glob("*.ready"))) < 2:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_when_ready, daemon=True).start()
    assert train_models(runs_of(_MODELS, ["plain", "latents"], tmp_path, 0), 2) == Stopped(signal.SIGTERM)
    assert sorted(path.stem for path in tmp_path.glob("*.saved")) == sorted(started)


@pytest.mark.slow
def test_a_claim_is_trained_and_measured_in_subprocesses(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(CLAIMS, "tiny", tiny_claim.CLAIM)
    models = {"plain": tiny_claim.MODEL}
    popen = subprocess.Popen

    def with_the_claim(command, **kwargs):
        if "bitdiff.findings" in command:
            command = [sys.executable, tiny_claim.__file__, *command[3:]]
        return popen(command, **kwargs)

    monkeypatch.setattr(job_pool.subprocess, "Popen", with_the_claim)
    task = findings.Check(models, tmp_path, (0,), jobs=2)
    assert findings.check("tiny", task) == 0
    output = capfd.readouterr().out
    assert "training 1 model; log" in output
    assert "measuring 1 seed; log" in output
    assert "cell" not in output  # the processes measured all cells
    runs = runs_of(models, ["plain"], tmp_path, 0)
    for run in runs:
        assert run.is_finished()
        assert "cell 1 of 1" in (tmp_path / f"measuring_{run.config.seed}.log").read_text()
    found = findings_report.read(tmp_path)["tiny"]
    assert found["seeds"] == [0]
    minutes = found["provenance"]["minutes"]
    assert minutes["training"] == {run.folder.name: run.minutes for run in runs}
    assert min(minutes["training"].values()) > 0
    assert minutes["measuring"] > 0
    assert "Two steps of training suffice." in (tmp_path / "findings.md").read_text()
    assert findings.check("tiny", task) == 0
    output = capfd.readouterr().out
    assert "training" not in output
    assert "measuring" not in output
    assert findings_report.read(tmp_path)["tiny"]["provenance"]["minutes"] == minutes


@pytest.mark.slow
def test_a_run_of_another_length_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(CLAIMS, "tiny", tiny_claim.CLAIM)
    (run,) = runs_of({"plain": tiny_claim.MODEL}, ["plain"], tmp_path, 0)
    train(run.config, run.folder)
    longer = {"plain": Model("digits", tiny_claim.TINY | {"train.steps": 3})}
    with pytest.raises(UsageError, match=r"plain_0 holds a run of 2 training steps, but the claim requires 3"):
        findings.check("tiny", findings.Check(longer, tmp_path, (0,), jobs=2))


@pytest.mark.slow
def test_a_failed_run_is_explained(tmp_path):
    (bad,) = runs_of({"bad": Model("digits", tiny_claim.TINY | {"bits.encoding": "morse"})}, ["bad"], tmp_path, 0)
    with pytest.raises(UsageError, match=r"training of .*bad_0 failed: config.bits.encoding is 'morse'.*bad_0.log"):
        train_models([bad], 2)
