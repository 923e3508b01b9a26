"""Checks the claims of the papers: python -m bitdiff.findings --workdir runs/findings.

Trains the models that a claim compares, measures them, and decides by a fixed rule whether the claim holds. Models that
several claims use are trained once. Finished parts are not repeated, so the same command resumes.
"""

from pathlib import Path

from absl import flags

from bitdiff.claims import findings_report
from bitdiff.claims.catalog import CLAIMS, MODELS
from bitdiff.claims.measure_claim import Stopped, measure
from bitdiff.cli import command
from bitdiff.runtime import processes
from bitdiff.runtime.errors import UsageError, choose


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of the runs and the report.", required=True)
    flags.DEFINE_list("claims", list(CLAIMS), f"Claims to check, of: {', '.join(CLAIMS)}.")
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds; a verdict requires at least three.")


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
    folder = Path(values.workdir)
    folder.mkdir(parents=True, exist_ok=True)
    for name in values.claims:
        print(f"claim {name}: {CLAIMS[name].statement}", flush=True)
        found = measure(CLAIMS[name], MODELS, folder, seeds)
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
