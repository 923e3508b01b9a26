r"""Docking on PDBBind's complexes with DiffDock-S, and with pointers as latents (DisCo-DiffDock-S). Not yet run.

    pip install -e '.[docking]'
    python -m bitdiff.train --config configs/pdbbind.py:disco --workdir runs/pdbbind --config.data.path=DIR
    python -m bitdiff.train --config configs/pdbbind.py:prior --workdir runs/pdbbind_prior --config.data.path=DIR \
        --config.first_run=runs/pdbbind
    python -m bitdiff.distill --workdir runs/pdbbind_prior --num_samples 120000 --out runs/pdbbind_poses
    python -m bitdiff.train --config configs/pdbbind.py:confidence --workdir runs/pdbbind_confidence \
        --config.data.path=DIR --config.first_run=runs/pdbbind_prior --config.data.distilled=runs/pdbbind_poses
    python -m bitdiff.evaluate --workdir runs/pdbbind_confidence

Without latents, train the variant plain, and pass its run in place of runs/pdbbind_prior. DIR is laid out as described
in bitdiff/data/pdbbind_files.py. Variants: plain (the default), disco (two latents, which point at atoms or residues),
prior (over disco's latents), confidence (ranks the poses of any other variant's run).

DisCo-Diff (section 5.3) reports the fraction of test complexes whose pose with the highest confidence has an RMSD below
2 A: DiffDock-S 32.9%, DisCo-DiffDock-S 35.4%; for proteins that are not in the training set, 13.9% and 18.5%. The
papers count all 363 test complexes; here, complexes that exceed config.data's sizes are left out, and training and
evaluation print how many. Other differences from the papers: atoms have only element and aromaticity as features, and
residues only their amino acid (no language-model embeddings); of the residues, an atom is connected only to the nearest
ones, and a hub at the ligand's center is connected to all nodes; there is no validation set.
"""

import ml_collections

from bitdiff.configuration import base_config, presets, sections

VARIANTS = ("plain", "disco", "prior", "confidence")


def get_config(variant: str = "plain") -> ml_collections.ConfigDict:
    """The configuration for one of VARIANTS."""
    presets.check_variant(__file__, variant, VARIANTS)
    config = base_config()
    config.task = "docking"
    config.data.name = "pdbbind"
    config.data.train_split = "timesplit_no_lig_overlap_train"
    config.data.test_split = "timesplit_test"
    config.data.atoms = 80
    config.data.torsions = 24
    config.data.length = 1_000
    config.data.atom_types = 23
    config.data.residue_types = 21
    config.data.num_classes = 0
    config.diffusion.self_cond_rate = 0.0
    config.network = sections.pose()
    config.optimizer.learning_rate = 1e-3
    config.optimizer.ema_decay = 0.999
    config.train.steps = 800_000
    config.train.batch_size = 16
    config.train.sample_every_steps = 0
    config.sample.sampler = "sde"
    config.sample.steps = 20
    config.sample.batch_size = 40
    config.evaluate.num_samples = 14_520  # 40 for each of 363 test complexes, if none is left out
    if variant == "confidence":
        presets.confidence(config)
        config.train.steps = 100_000
    if variant in ("disco", "prior"):
        config.latents.count = 2
        config.latents.straight_through = True  # as in the authors' code for docking
        config.latents.encoder = sections.pointer_encoder()
    if variant == "prior":
        presets.second_stage(config, "pointers")
        config.diffusion.self_cond_rate = 0.0
        config.optimizer.freeze_steps = 5_000  # about five epochs, as in the paper
        config.train.steps = 100_000
    return config
