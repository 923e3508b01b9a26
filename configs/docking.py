r"""Docking in receptors with two pockets, where the distribution of the ligand's poses is known; no download.

    python -m bitdiff.train --config configs/docking.py:disco --workdir runs/docking
    python -m bitdiff.train --config configs/docking.py:prior --workdir runs/docking_prior \
        --config.first_run=runs/docking
    python -m bitdiff.evaluate --workdir runs/docking_prior

A confidence model ranks the poses of a run of any other variant:

    python -m bitdiff.distill --workdir runs/docking_prior --num_samples 8000 --out runs/docking_poses
    python -m bitdiff.train --config configs/docking.py:confidence --workdir runs/docking_confidence \
        --config.first_run=runs/docking_prior --config.data.distilled=runs/docking_poses
    python -m bitdiff.evaluate --workdir runs/docking_confidence

Variants: plain (the default), disco (with two latents, which point at atoms or residues; its evaluation infers them
from the true poses), prior (over disco's latents), confidence; each also with the prefix molecules_, for small
molecules with rotatable bonds (pip install -e '.[docking]') in place of rigid ligands. The complexes are synthetic, see
bitdiff/data/pockets.py. Results: configs/README.md.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

MODELS = ("plain", "disco", "prior", "confidence")
VARIANTS = tuple(f"{ligands}{model}" for ligands in ("", "molecules_") for model in MODELS)


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration for one of VARIANTS."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.task = "docking"
    config.data.name = "pockets"
    config.data.num_classes = 0
    molecules = variant.startswith("molecules")
    config.data.builder = "molecules" if molecules else ""
    config.data.atoms = 15
    config.data.torsions = 8 if molecules else 0
    config.data.atom_types = 23 if molecules else 8
    config.data.residue_types = 27 if molecules else 12
    config.data.length = 60
    config.diffusion.self_cond_rate = 0.0
    if variant in ("molecules_plain", "molecules_disco"):
        # At DiffDock's 0.03, the noise on torsions vanishes while the orientation is still uncertain.
        config.docking.torsion = (0.2, 3.14)
    config.network = sections.pose(
        scalars=24, vectors=8, layers=3, residue_neighbors=2, atom_neighbors=16, distance=12.0, cross_distance=12.0
    )
    presets.small_run(config, steps=12_000, batch_size=16)
    config.optimizer.learning_rate = 5e-3
    config.sample.sampler = "ancestral"
    config.sample.steps = 20
    config.sample.temperature = 0.33  # a true pose is a single point
    config.evaluate.num_samples = 1_500  # five for each test complex
    config.train.accumulate = 4  # on a CPU, small parts are faster, since they fit its caches
    if variant.endswith("confidence"):
        presets.confidence(config)
        presets.small_run(config, steps=2_000, batch_size=32)
        config.evaluate.num_samples = 3_000
    if variant.endswith(("disco", "prior")):
        config.latents.count = 2
        config.latents.straight_through = True  # as in the authors' code for docking
        config.latents.encoder = sections.pointer_encoder(scalars=24, vectors=4, layers=2)
    if variant.endswith("prior"):
        presets.second_stage(config, "pointers")
        config.diffusion.self_cond_rate = 0.0
        presets.small_run(config, steps=2_000, batch_size=16)
    config.train.sample_every_steps = 0
    return config
