"""Checks the claims of the papers: python -m bitdiff.findings --workdir runs/findings.

Trains the models that a claim compares, measures them, and decides by a fixed rule whether the claim holds. Models that
several claims use are trained once. Finished parts are not repeated, so the same command resumes.
"""

from pathlib import Path

import jax
from absl import flags

from bitdiff.claims import findings_report
from bitdiff.claims.catalog import CLAIMS
from bitdiff.claims.claim_models import MODELS
from bitdiff.claims.measure_claim import measure
from bitdiff.claims.train_models import Stopped, runs_of, train_models
from bitdiff.cli import command
from bitdiff.runtime import processes
from bitdiff.runtime.errors import UsageError, choose


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of the runs and the report.", required=True)
    flags.DEFINE_list("claims", list(CLAIMS), f"Claims to check, of: {', '.join(CLAIMS)}.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds; a verdict requires at least three.")
    flags.DEFINE_integer(
        "jobs", None, "Models to train at a time; by default one per CPU device, or 1 on a GPU or TPU.", lower_bound=1
    )


def main() -> int:
    """Runs the command."""
    values = flags.FLAGS
    for name in values.claims:
        choose("claim (--claims)", name, CLAIMS)
    seeds = command.integers("seeds", values.seeds) or ()
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds is {','.join(values.seeds)}; it must be different integers, as in 0,1,2")
    if processes.processes()[1] > 1:
        raise UsageError("bitdiff.findings runs in one process; start it without a launcher")
    on_cpu = jax.default_backend() == "cpu"
    jobs = values.jobs or (jax.local_device_count() if on_cpu else 1)
    if jobs > 1 and not on_cpu:
        raise UsageError(f"--jobs is {jobs}, but several processes cannot use one accelerator; it must be 1")
    folder = Path(values.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    for name in values.claims:
        print(f"claim {name}: {CLAIMS[name].statement}", flush=True)
        runs = [run for seed in seeds for run in runs_of(MODELS, CLAIMS[name].models, folder, seed)]
        found = (train_models(runs, jobs) if jobs > 1 else None) or measure(CLAIMS[name], MODELS, folder, seeds)
        if isinstance(found, Stopped):
            return 128 + found.signal
        findings = findings_report.read(folder) | {name: findings_report.finding(CLAIMS[name], found, seeds)}
        findings_report.write(folder, findings)
        print(f"{name}: {findings[name]['verdict']}", flush=True)
    print(f"wrote {folder / 'findings.md'}")
    return 0


if __name__ == "__main__":
    define_flags()
    command.run(main)
