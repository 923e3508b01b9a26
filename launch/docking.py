#!/usr/bin/env python3
"""Reproduces the results on docking in receptors with two pockets: trains and evaluates every model with every seed.

    python launch/docking.py --out runs/docking               # hours on one core; the same command resumes
    python launch/docking.py --out runs/docking --only plain --seeds 0

Each training run uses one core, selected by --core. The scores are written to the folder of the
runs; `--results configs/results` updates the published ones.
"""

from collections.abc import Callable
from pathlib import Path

from study import Model, Study, Table, main, run

from bitdiff.configs import docking
from bitdiff.data.pockets import STRONG

_POCKETS = {
    "within 2 A of a true pose, %": ("known_below_2", 100),
    "within 2 A of the pose in the data, %": ("rmsd_below_2", 100),
    "total variation over the pockets": ("pocket_tv", 1),
    "total variation over the pockets, mean over complexes": ("pocket_tv_each", 1),
    "poses in the pocket predicted by the most informative pointer, %": ("pointers_agree", 100),
    "top-ranked pose within 2 A of a true pose, %": ("top1_known_below_2", 100),
    "top-ranked pose within 2 A of the pose in the data, %": ("top1_below_2", 100),
}
_TORSIONS = {
    f"torsion angles within {degrees} degrees of the nearest true pose's, %": (f"torsion_below_{degrees}", 100)
    for degrees in (10, 30, 60, 120)
} | {
    "torsion angles within 30 degrees, chance level, %": ("torsion_below_30_chance", 100),
    "poses with all torsion angles within 30 degrees, %": ("torsions_all_below_30", 100),
    "poses with all torsion angles within 30 degrees, chance level, %": ("torsions_all_below_30_chance", 100),
}
_STEPS = (5, 10, 20)
_TEMPERATURE = docking.get_config().sample.temperature
_RANKED = 8_000  # poses that a confidence model is trained on
_SAMPLES = 3_000  # ten for each test complex
TEST_COMPLEXES = 300
# How many of them have their pose in the strong pocket, by config.data.builder.
STRONG_COMPLEXES = {"": 212, "molecules": 207}
_ONE_CORE = ("--config.train.accumulate=8",)  # the fastest on one core


def _cells(*steps: int) -> dict[str, list[str]]:
    return {f"{n}": ["--steps", f"{n}", "--temperature", f"{_TEMPERATURE}"] for n in steps}


def _models(prefix: str) -> dict[str, Model]:
    """The models of one kind of ligand; their names and variants start with `prefix`."""
    disco, prior, poses = (f"{prefix}{name}" for name in ("disco", "prior", "poses"))
    first = (
        *_ONE_CORE,
        f"--config.first_run={{{disco}}}",
    )
    ranked = (*_ONE_CORE, f"--config.first_run={{{prior}}}", f"--config.data.distilled={{{poses}}}")
    return {
        f"{prefix}plain": Model("no latents", f"docking:{prefix}plain", _ONE_CORE, (), _cells(*_STEPS)),
        disco: Model("oracle pointers", f"docking:{disco}", _ONE_CORE, (), _cells(*_STEPS)),
        prior: Model("generated pointers", f"docking:{prior}", first, (disco,), _cells(*_STEPS)),
        f"{prefix}confidence": Model(
            "generated pointers, ranked", f"docking:{prefix}confidence", ranked, (disco, prior, poses), _cells(20)
        ),
    }


def _sample_poses(prefix: str) -> Callable[[Path, int], Path]:
    """Returns the function that samples the poses that a confidence model is trained on."""

    def sample(out: Path, seed: int) -> Path:
        folder = out / f"{prefix}poses_{seed}"
        run("distill", "--workdir", out / f"{prefix}prior_{seed}", "--num_samples", _RANKED, "--out", folder)
        return folder

    return sample


def _about(ligands: str, strong: int) -> str:
    """A table's caption; `strong` is the number of test complexes whose pose is in the strong pocket."""
    fraction = strong / TEST_COMPLEXES
    percent = f"{100 * fraction:.1f}%"
    whole, each = abs(fraction - STRONG), fraction * (1.0 - STRONG) + (1.0 - fraction) * STRONG
    return (
        f"{ligands}. {_SAMPLES:,} poses, ten for each test complex, with the ancestral sampler at a temperature of "
        f"{_TEMPERATURE}. The pose in the data is in the strong pocket with probability {STRONG:g} (in {percent} of "
        "the test complexes), and otherwise in the weak one. Both poses are true poses, so with a ranking that always "
        "prefers the strong pocket, the top-ranked pose is within 2 A of the pose in the data for at most "
        f"{percent} of the complexes. For poses from the true distribution, the expected total variation is 0.007 over "
        "all of them and 0.112 for each complex. Oracle pointers are inferred from the pose in the data, so all poses "
        f"of a complex should be in its pocket; the total variation would then be {whole:.3f} and {each:.3f}. "
        "Minutes: CPU time on one core to train the model and those it depends on, without sampling."
    )


STUDY = Study(
    command="python launch/docking.py",
    about="Reproduces the results on docking in receptors with two pockets.",
    tables={
        "docking": Table(_models(""), _about("Rigid ligands", STRONG_COMPLEXES[""]), _POCKETS, _SAMPLES),
        "docking_molecules": Table(
            _models("molecules_"),
            _about("Small molecules with torsions", STRONG_COMPLEXES["molecules"]),
            _POCKETS | _TORSIONS,
            _SAMPLES,
        ),
    },
    made={f"{prefix}poses": _sample_poses(prefix) for prefix in ("", "molecules_")},
    owner={f"{prefix}poses": f"{prefix}prior" for prefix in ("", "molecules_")},
)


if __name__ == "__main__":
    main(STUDY)
