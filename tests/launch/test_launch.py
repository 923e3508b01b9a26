"""The launch scripts, as far as they can be tested without their target machines."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
SCRIPTS = sorted(LAUNCH.glob("*.sh"))


def run(*line, **env):
    result = subprocess.run(
        [str(part) for part in line], cwd=ROOT, env=os.environ | env, text=True, capture_output=True, timeout=120
    )
    return result.returncode, result.stdout, result.stderr


def test_shellcheck_finds_nothing():
    code, output, _ = run("shellcheck", "--external-sources", "--source-path", LAUNCH, "--source-path", ROOT, *SCRIPTS)
    assert code == 0, output


@pytest.mark.parametrize("script", [s for s in SCRIPTS if s.name in ("tpu_vm.sh", "gke.sh")], ids=lambda s: s.name)
def test_scripts_print_their_usage_without_arguments(script):
    code, _, error = run("bash", script)
    assert code == 2
    assert f"bash launch/{script.name}" in error


def test_tpu_vm_runs_the_right_gcloud_commands():
    env = {"DRY_RUN": "1", "PROJECT": "p", "ZONE": "z"}
    script = LAUNCH / "tpu_vm.sh"
    code, output, error = run("bash", script, "train", "bits", "--config", "configs/x.py:a b", "--workdir", "/w", **env)
    assert code == 0, error
    *start, remote, project, zone = eval_words(output)
    assert start == ["gcloud", "compute", "tpus", "tpu-vm", "ssh", "bits", "--worker=all"]
    assert (project, zone) == ("--project=p", "--zone=z")
    # The arguments are also quoted for the hosts' shell, so that they arrive unchanged.
    assert eval_words(remote.split("bitdiff.train")[1])[:6] == [
        *("--platform", "tpu", "--config", "configs/x.py:a b", "--workdir", "/w"),
    ]
    code, output, error = run("bash", script, "create", "bits", "v4-32", **env)
    assert code == 0, error
    verbs = [line.split()[4] for line in output.splitlines() if line.startswith("gcloud")]
    assert verbs == ["create", "scp", "ssh"]
    assert run("bash", script, "delete", "bits", **env)[1].split()[4:6] == ["delete", "bits"]
    code, _, error = run("bash", script, "delete", "bits", DRY_RUN="1")
    assert code != 0
    assert "set PROJECT" in error


def eval_words(text):
    """Splits a line into words as bash does."""
    output = subprocess.run(["bash", "-c", f"printf '%s\\0' {text}"], text=True, capture_output=True, check=True).stdout
    return output.split("\0")[:-1]


def test_gke_runs_the_right_xpk_command():
    code, output, error = run(
        *("bash", LAUNCH / "gke.sh", "bits", "v5litepod-16", "--config", "c.py"), DRY_RUN="1", CLUSTER="c", IMAGE="i"
    )
    assert code == 0, error
    words = eval_words(output)
    assert words[:3] == ["xpk", "workload", "create"]
    assert words[-1] == "--command=python -m bitdiff.train --platform tpu --config c.py "


def test_slurm_runs_the_command_and_requeues_after_a_preemption(tmp_path):
    for name, body in {
        "srun": 'echo "srun $*" >>"$LOG"; exit "$CODE"',
        "scontrol": 'echo "scontrol $*" >>"$LOG"',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    # A checkout whose environment already exists.
    (tmp_path / "launch").mkdir()
    (tmp_path / "launch" / "environment.sh").write_text("")
    for code, requeued in ((143, True), (2, False), (0, False)):
        log = tmp_path / f"log{code}"
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "LOG": str(log), "CODE": str(code)}
        env |= {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7"}
        assert run("bash", LAUNCH / "slurm.sh", "--workdir", "/w", **env)[0] == code
        lines = log.read_text().splitlines()
        assert lines[0].endswith("python -m bitdiff.train --platform gpu --workdir /w")
        assert (lines[1:] == ["scontrol requeue 7"]) == requeued
    assert run("bash", LAUNCH / "slurm.sh")[0] != 0  # outside a job


def test_the_jobset_is_consistent():
    jobset = yaml.safe_load((LAUNCH / "jobset.yaml").read_text())
    assert (jobset["apiVersion"], jobset["kind"]) == ("jobset.x-k8s.io/v1alpha2", "JobSet")
    name = jobset["metadata"]["name"]
    (job,) = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    assert spec["parallelism"] == spec["completions"]
    pod = spec["template"]["spec"]
    (container,) = pod["containers"]
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    assert env["JAX_NUM_PROCESSES"] == str(spec["parallelism"])
    host, port = env["JAX_COORDINATOR_ADDRESS"].split(":")
    assert host == f"{name}-{job['name']}-0-0.{name}"  # the first pod, as JobSet names it
    assert int(port) == container["ports"][0]["containerPort"]
    assert container["command"] == ["python", "-m", "bitdiff.train"]
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_the_skypilot_task_is_consistent():
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    assert task["num_nodes"] > 1
    assert task["run"].rstrip().splitlines()[-1].startswith("python -m bitdiff.train --platform gpu")
    (mount,) = task["volumes"]
    assert f"--workdir {mount}/" in task["run"]


@pytest.mark.parametrize("options", ["set -euo pipefail", "true"])
def test_an_incomplete_environment_is_recreated(tmp_path, options):
    """A checkout with a stand-in for Python, whose pip fails as long as the file `offline` exists."""
    (tmp_path / "launch").mkdir()
    shutil.copy(LAUNCH / "environment.sh", tmp_path / "launch")
    for name in ("requirements.lock", "setup.py", "offline"):
        (tmp_path / name).write_text("")
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/bash\necho "$*" >>{tmp_path}/log\n'
        f'case "$*" in "-m venv"*) mkdir -p .venv/bin && cp {python} .venv/bin/python ;; '
        f'"-m pip"*) [ ! -e {tmp_path}/offline ] ;; esac\n'
    )
    python.chmod(0o755)

    def source_script(extra=""):
        (tmp_path / "log").write_text("")
        environment = {"PYTHON": str(python), "EXTRA": extra, "GLIBC_TUNABLES": ""}
        code, _, _ = run("bash", "-c", f"{options}; source {tmp_path}/launch/environment.sh; exit $?", **environment)
        return code, "-m venv" in (tmp_path / "log").read_text()

    assert source_script() == (1, True)
    assert not (tmp_path / ".venv" / "bitdiff-lock").exists()
    (tmp_path / "offline").unlink()
    assert source_script() == (0, True)
    assert source_script() == (0, False)
    assert source_script("cuda") == (0, True)
    assert "pip install --quiet --disable-pip-version-check jax[cuda12]" in (tmp_path / "log").read_text()
    assert source_script() == (0, False)  # an environment for GPUs also runs on a CPU
    assert source_script("tpu") == (0, True)
    (tmp_path / "requirements.lock").write_text("new")
    assert source_script() == (0, True)


def test_files_copied_into_the_image_exist():
    lines = (LAUNCH / "Containerfile").read_text().splitlines()
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_local_launcher_forwards_signals_and_returns_exit_codes(tmp_path):
    # A stand-in for the package: each process writes its flags and arguments, then waits for a signal.
    (tmp_path / "bitdiff").mkdir()
    (tmp_path / "bitdiff" / "__init__.py").write_text("")
    (tmp_path / "bitdiff" / "train.py").write_text(
        "import os, signal, sys, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        "open(sys.argv[-1], 'w').write(os.environ['XLA_FLAGS'] + ' '.join(sys.argv[1:]))\n"
        "time.sleep(60)\n"
    )
    line = [sys.executable, LAUNCH / "local.py", "--processes", "2", "--devices", "3", "train", "--workdir", "w"]
    process = subprocess.Popen(line, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(tmp_path)})
    while not all((tmp_path / str(i)).exists() and (tmp_path / str(i)).read_text() for i in range(2)):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 143
    texts = [(tmp_path / str(i)).read_text() for i in range(2)]
    assert all("device_count=3" in text and "--workdir w --coordinator localhost:" in text for text in texts)
    assert texts[1].endswith("--num_processes 2 --process_id 1")
