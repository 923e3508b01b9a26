"""Checks the claims of the papers: python -m bitdiff.findings [NAME ...] --workdir runs/findings.

Trains the models that a claim compares, measures them, and decides by a fixed rule whether the claim holds. Models that
several claims use are trained once. Finished parts are not repeated, so the same command resumes. Without names, all
claims are checked.
"""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
from absl import flags

from bitdiff.claims import findings_report
from bitdiff.claims.catalog import CLAIMS
from bitdiff.claims.claim import Model
from bitdiff.claims.claim_models import MODELS, with_fashion
from bitdiff.claims.job_pool import Stopped
from bitdiff.claims.measure_claim import measure, measure_at_once
from bitdiff.claims.train_models import Run, check_lengths, runs_of, train_models
from bitdiff.cli import command
from bitdiff.runtime import processes
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.runtime.version import current_commit

__doc__ = f"{__doc__}\nNames: {', '.join(CLAIMS)}."  # shown by --help


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of the runs and the report.", required=True)
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds; a verdict requires at least three.")
    flags.DEFINE_string("fashion", None, "Folder with the IDX files of Fashion-MNIST; by default the config's.")
    flags.DEFINE_integer(
        "jobs",
        None,
        "Models to train, and seeds to measure, at a time; by default one per CPU device, or 1 on a GPU or TPU.",
        lower_bound=1,
    )
    flags.DEFINE_bool("report", True, "Whether to write the report; --noreport only trains and measures.")


def main(*names: str) -> int:
    """Runs the command for the claims with these names, or for all."""
    values = flags.FLAGS
    for name in names:
        choose("claim", name, CLAIMS)
    seeds = command.integers("seeds", values.seeds) or ()
    if not seeds or len(set(seeds)) < len(seeds):
        raise UsageError(f"--seeds is {','.join(values.seeds)}; it must list distinct integers, as in 0,1,2")
    if processes.processes()[1] > 1:
        raise UsageError("bitdiff.findings runs in one process; start it without a launcher")
    on_cpu = jax.default_backend() == "cpu"
    jobs = values.jobs or (jax.local_device_count() if on_cpu else 1)
    if jobs > 1 and not on_cpu:
        raise UsageError(f"--jobs is {jobs}, but several processes cannot use one accelerator; it must be 1")
    folder = Path(values.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    fashion = Path(values.fashion).expanduser().resolve() if values.fashion else None
    models = with_fashion(MODELS, fashion) if fashion else MODELS
    options = [f"--fashion={fashion}"] if fashion else []
    task = Check(models, folder, seeds, jobs, options, values.report, current_commit())
    failed = {}
    for name in names or CLAIMS:
        print(f"claim {name}: {CLAIMS[name].statement}", flush=True)
        try:
            signal = check(name, task)
        except UsageError as error:  # such as missing data; the other claims may not need them
            print(f"claim {name} was not checked: {error}", flush=True)
            failed[name] = error
            continue
        if signal:
            return 128 + signal
    if values.report and len(failed) < len(names or CLAIMS):
        print(f"wrote {folder / 'findings.md'}")
    if failed:
        raise UsageError(
            f"{len(failed)} of {len(names or CLAIMS)} claims were not checked; the first error: "
            f"{next(iter(failed.values()))}"
        )
    return 0


class Check(NamedTuple):
    """How claims are checked.

    models: all models by name.
    folder: the folder of the runs and the report.
    seeds: the seeds.
    jobs: models trained, and seeds measured, at a time.
    options: arguments for the processes that measure seeds.
    report: whether the report is written.
    commit: that of the code.
    """

    models: Mapping[str, Model]
    folder: Path
    seeds: Sequence[int]
    jobs: int
    options: Sequence[str] = ()
    report: bool = True
    commit: str = "unknown"


def check(name: str, task: Check) -> int:
    """Checks a claim and, if task.report is set, adds it to the report; returns the signal that stopped it, or 0."""
    claim, jobs = CLAIMS[name], task.jobs
    findings = findings_report.read(task.folder)
    one = findings.get(name)
    known = one is not None and one["seeds"] == list(task.seeds) and findings_report.is_current(claim, task.models, one)
    runs = [run for seed in task.seeds for run in runs_of(task.models, claim.models, task.folder, seed)]
    require_data(runs)
    check_lengths(runs)
    stopped = train_models(runs, jobs) if jobs > 1 else None
    start, trained = time.monotonic(), sum(run.minutes for run in runs)
    if jobs > 1 and stopped is None and not known:
        stopped = measure_at_once(name, runs, task.folder, task.seeds, jobs, task.options)
    found = stopped or measure(claim, task.models, task.folder, task.seeds)
    if isinstance(found, Stopped):
        return found.signal
    training = {run.folder.name: run.minutes for run in runs}
    measuring = (time.monotonic() - start) / 60 - (sum(training.values()) - trained)
    if task.report:
        commit = task.commit
        if known:  # an earlier call measured the points, so its time and commit are kept
            before = findings[name]["provenance"]
            measuring = before.get("minutes", {}).get("measuring", measuring)
            commit = before.get("commit", commit)
        minutes = findings_report.Minutes(training, jobs, measuring)
        findings[name] = findings_report.finding(claim, found, task.seeds, minutes, commit)
        findings_report.write(task.folder, findings)
        print(f"{name}: {findings[name]['verdict']}", flush=True)
    return 0


def require_data(runs: Sequence[Run]) -> None:
    """Checks that the images of Fashion-MNIST are there if a run requires them.

    Raises:
      UsageError: there is no folder with them.
    """
    for path in {run.config.data.path for run in runs if run.config.data.name == "idx"}:
        if not Path(path).is_dir():
            raise UsageError(
                f"there is no folder {path} with the IDX files of Fashion-MNIST; install Debian's package "
                "dataset-fashion-mnist, or pass another folder as --fashion"
            )


if __name__ == "__main__":
    define_flags()
    command.run(main, takes_names=True)
