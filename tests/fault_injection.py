"""Kills a training run repeatedly and compares its final weights with those of an uninterrupted run.

    python tests/fault_injection.py --kills 50 --save_kills 20

It kills the run `--kills` times at random moments after the process starts, then `--save_kills` times while a
checkpoint is being written. The weights must equal the uninterrupted run's bit for bit. A kill takes about ten seconds;
the test suite makes only a few.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np

from bitdiff.inference import trained

ROOT = Path(__file__).parent.parent
EVERY = 25  # steps between checkpoints
TINY = [
    *(
        "--config",
        "configs/mixture.py",
        "--config.network.dim=16",
        "--config.network.layers=1",
        "--config.optimizer.name=adam",
    ),
    *("--config.network.head_dim=8", "--config.optimizer.schedule=constant", "--config.optimizer.warmup_steps=2"),
    *("--config.train.batch_size=8", "--config.train.sample_every_steps=0", "--config.train.log_every_steps=5"),
    *(f"--config.checkpoint.every_steps={EVERY}", "--config.checkpoint.keep=2"),
]


def start(workdir: Path, steps: int) -> subprocess.Popen:
    """Starts a training run as a user would."""
    line = [sys.executable, "-m", "bitdiff.train", *TINY, "--workdir", str(workdir), f"--config.train.steps={steps}"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run_to_end(workdir: Path, steps: int) -> None:
    """Trains up to a step; raises RuntimeError with the output if that fails."""
    process = start(workdir, steps)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"training failed with {process.returncode}:\n{output}")


def saved(workdir: Path) -> int:
    """The step of the latest finished checkpoint, or 0 if there is none."""
    return max((int(path.name) for path in workdir.glob("checkpoints/*") if path.name.isdigit()), default=0)


def kill_when(workdir: Path, steps: int, moment: Callable[[], bool]) -> bool:
    """Starts training and kills it (SIGKILL) once `moment()` is true; returns False if it finished first."""
    process = start(workdir, steps)
    while process.poll() is None:
        if moment():
            process.kill()
            process.communicate()
            return True
        time.sleep(0.001)
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"training failed with {process.returncode}:\n{output}")
    return False


def inject(folder: Path, *, kills: int, save_kills: int, longest: float, seed: int) -> dict[str, int]:
    """Kills runs and returns how many kills of each kind were made.

    Args:
      folder: an empty folder for the runs.
      kills: number of kills at random moments.
      save_kills: number of kills while a checkpoint is being written.
      longest: maximum number of seconds a process runs before a random kill.
      seed: seed of the kill times.

    Raises:
      RuntimeError: a run failed on its own, a finished checkpoint was lost, or the weights differ at the end.
    """
    rng, workdir = random.Random(seed), folder / "killed"
    done = {"kills": 0, "kills while saving": 0, "kills without a new checkpoint": 0}

    def kill(name, moment):
        # So many steps that the run cannot finish on its own; with a constant learning rate the length has no effect.
        before = saved(workdir)
        if not kill_when(workdir, 10**6, moment):
            raise RuntimeError("the run ended on its own")
        if saved(workdir) < before:
            raise RuntimeError(f"the checkpoint of step {before} is lost")
        done[name] += 1
        done["kills without a new checkpoint"] += saved(workdir) == before
        print(f"{done}, at step {saved(workdir)}", flush=True)

    for _ in range(kills):
        end = time.monotonic() + rng.uniform(0, longest)
        kill("kills", lambda end=end: time.monotonic() > end)
    for _ in range(save_kills):
        pause = rng.uniform(0, 0.2)  # spreads the kills over the save

        def saving(pause=pause):
            if not list(workdir.glob("checkpoints/*.orbax-checkpoint-tmp")):
                return False
            time.sleep(pause)
            return True

        kill("kills while saving", saving)
    steps = saved(workdir) + EVERY
    run_to_end(workdir, steps)
    run_to_end(folder / "whole", steps)
    killed, whole = (trained.load(path) for path in (workdir, folder / "whole"))
    if killed.step != whole.step or not all(
        np.array_equal(a, b) for a, b in zip(jax.tree.leaves(killed.params), jax.tree.leaves(whole.params), strict=True)
    ):
        raise RuntimeError(f"the weights at steps {killed.step} and {whole.step} differ; see {folder}")
    return done | {"steps": steps}


def main() -> None:
    """Parses the arguments and runs the injection."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--save_kills", type=int, default=20)
    parser.add_argument("--longest", type=float, default=20.0, help="maximum seconds before a random kill")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="faults"))
    print(inject(folder, kills=given.kills, save_kills=given.save_kills, longest=given.longest, seed=given.seed))
    print("the weights equal the uninterrupted run's bit for bit")


if __name__ == "__main__":
    main()
