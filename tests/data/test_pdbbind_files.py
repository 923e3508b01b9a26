"""Tests of reading complexes in PDBBind's layout, and of a whole run on a few of them."""

import json
import shutil

import jax
import numpy as np
import pytest

from bitdiff import data
from bitdiff.configs import pdbbind
from bitdiff.configuration import load_config
from bitdiff.data import ligands
from bitdiff.data.complexes import fields_of, sizes_of
from bitdiff.data.dataset import stack
from bitdiff.inference import trained
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import make_task, sample_options
from bitdiff.tasks.docking_model import blank_examples

Chem = pytest.importorskip("rdkit.Chem")
from rdkit.Chem import AllChem  # noqa: E402

SIZES = {"atoms": 14, "torsions": 5, "length": 30}
_AMINO = ("ALA", "GLY", "LEU", "SER")


def write_complex(root, name, smiles, residues, seed=0):
    folder = root / name
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    lines = []
    for i, (x, y, z) in enumerate(rng.normal(size=(residues, 3)) * 8):
        for atom, shift in ((" N  ", -1.0), (" CA ", 0.0)):
            place = f"{x + shift:8.3f}{y:8.3f}{z:8.3f}"
            lines.append(f"ATOM  {len(lines) + 1:5d} {atom} {_AMINO[i % 4]} A{i + 1:4d}    {place}  1.00  0.00")
    (folder / f"{name}_protein_processed.pdb").write_text("\n".join([*lines, "END", ""]))
    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(molecule, randomSeed=seed + 100)  # not a seed that the loader uses
    with Chem.SDWriter(str(folder / f"{name}_ligand.sdf")) as writer:
        writer.write(molecule)


@pytest.fixture
def folder(tmp_path):
    for i, smiles in enumerate(("CCOc1ccccc1", "CC(=O)Nc1ccccc1", "CCCCO", "OCCc1ccccc1")):
        write_complex(tmp_path, f"{i}abc", smiles, 20 + i, seed=i)
    write_complex(tmp_path, "big1", "CCCCCCCCCCCCCCCC", 20)  # 16 atoms
    write_complex(tmp_path, "long", "CCCC", 31)  # 31 residues
    write_complex(tmp_path, "bad1", "CCCC", 20)
    (tmp_path / "bad1" / "bad1_ligand.sdf").write_text("nothing\n")
    (tmp_path / "train").write_text("0abc\n1abc\n2abc\nbig1\nlong\nbad1\nnone\n")
    (tmp_path / "test").write_text("3abc\n")
    return tmp_path


def section(folder, **changes):
    config = load_config("pdbbind")
    config.data.update({"path": str(folder), "train_split": "train", "test_split": "test"} | SIZES | changes)
    return config.data


def test_complexes_that_fit_are_read_and_padded(folder):
    dataset = data.load(section(folder))
    assert (len(dataset.train), len(dataset.test)) == (3, 1)
    assert "3 of 7 training / 1 of 1 test; the others are unreadable or too large" in dataset.about
    rows = stack(dataset.train)
    assert {name: array.shape[1:] for name, array in rows.items()} == {
        "pose": (14, 3),
        "conformer": (14, 3),
        "atoms": (14,),
        "elements": (14,),
        "charges": (14,),
        "bonds": (28, 2),
        "orders": (28,),
        "rotatable": (5, 2),
        "moved": (5, 14),
        "residues": (30,),
        "positions": (30, 3),
    }
    assert (rows["residues"] > 0).sum(axis=1).tolist() == [20, 21, 22]
    assert (rows["atoms"] > 0).sum(axis=1).tolist() == [9, 10, 5]
    assert rows["residues"][0, :4].tolist() == [1, 8, 11, 16]  # ALA, GLY, LEU, SER
    expected = np.random.default_rng(0).normal(size=(20, 3)) * 8
    np.testing.assert_allclose(rows["positions"][0, :20], expected, atol=1e-3)


def test_the_conformer_is_one_that_rdkit_builds(folder, caplog):
    rows = stack(data.load(section(folder)).train)
    exist = rows["atoms"] > 0
    deviation = [
        np.sqrt(np.mean(np.sum((a - b)[e] ** 2, -1)))
        for a, b, e in zip(rows["pose"], rows["conformer"], exist, strict=True)
    ]
    assert min(deviation) > 1e-3
    assert max(deviation) < 1
    assert not caplog.records


def test_a_ligand_that_rdkit_cannot_build_keeps_its_conformer(folder, caplog, monkeypatch):
    monkeypatch.setattr(ligands, "_embed", lambda molecule, seed: False)
    row = data.load(section(folder)).train[0]
    np.testing.assert_array_equal(row["conformer"], row["pose"])
    assert "0abc: the crystal structure replaces RDKit's conformer" in caplog.text


def test_a_mol2_file_is_used_if_the_sdf_file_cannot_be_read(folder):
    (folder / "bad1" / "bad1_ligand.mol2").write_text(
        "@<TRIPOS>MOLECULE\nm\n 2 1 0 0 0\nSMALL\nNO_CHARGES\n\n@<TRIPOS>ATOM\n"
        "1 C1 0.0 0.0 0.0 C.3 1 L 0.0\n2 O1 1.4 0.0 0.0 O.3 1 L 0.0\n@<TRIPOS>BOND\n1 1 2 1\n"
    )
    dataset = data.load(section(folder))
    assert len(dataset.train) == 4
    assert stack(dataset.train)["atoms"][3, :3].tolist() == [1, 5, 0]


def test_missing_files_and_sizes_are_errors(folder):
    with pytest.raises(UsageError, match="must be a folder with one folder per complex"):
        data.load(section(folder / "none"))
    with pytest.raises(UsageError, match="is 'other'; it must name a text file"):
        data.load(section(folder, train_split="other"))
    with pytest.raises(UsageError, match="torsions 0 and length 30"):
        data.load(section(folder, torsions=0))
    (folder / "test").write_text("none\n")
    with pytest.raises(UsageError, match=r"none of the 1 complexes of .*none_protein_processed\.pdb"):
        data.load(section(folder))


@pytest.mark.parametrize("variant", pdbbind.VARIANTS)
def test_models_of_the_papers_size_fit_their_data(variant):
    config = pdbbind.get_config(variant)
    options = config.data
    sizes = fields_of(sizes_of(options), ligands.ATOM_TYPES, ligands.RESIDUE_TYPES)
    configs = [one for one in (config, config.get("first"), config.get("first", {}).get("first")) if one]
    for one in configs:
        one.data.update(dict(sizes))
    task = make_task(config)
    params = jax.eval_shape(task.init, jax.random.key(0))
    batch = {name: np.repeat(array, 2, axis=0) for name, array in blank_examples(sizes_of(options)).items()}
    batch |= {"sampled": batch["pose"], "deviation": np.zeros(2, np.float32)}
    keys = jax.random.split(jax.random.key(0), 2)
    loss, _ = jax.eval_shape(task.loss, params, batch, keys)
    assert loss.shape == ()
    condition = task.condition(np.arange(2), None)
    drawn = sample_options(config.sample)
    outputs = jax.eval_shape(lambda *a: task.sample(*a, drawn), params, condition, keys)
    assert outputs["pose"].shape == (2, options.atoms, 3)


@pytest.mark.slow
def test_a_run_on_files_trains_samples_and_is_evaluated(folder, command, tmp_path):
    workdir = tmp_path / "run"
    sizes = [f"--config.data.{name}={value}" for name, value in SIZES.items()]
    splits = ["--config.data.train_split=train", "--config.data.test_split=test"]
    short = ["--config.train.steps=2", "--config.train.batch_size=2", "--config.optimizer.warmup_steps=1"]
    short += ["--config.sample.steps=2", "--config.sample.batch_size=4"]
    fields = [f"--config.data.path={folder}", *sizes, *splits, *short, "--config.network.layers=1"]
    small = "--config.latents.encoder.layers=1"
    code, output = command("train", "--config", "pdbbind:disco", "--workdir", workdir, small, *fields)
    assert code == 0, output
    out = tmp_path / "poses.npz"
    code, output = command("sample", "--workdir", workdir, "--num_samples", 4, "--out", out, "--frames", 2)
    assert code == 0, output
    assert all((tmp_path / name).stat().st_size for name in ("poses.png", "poses_strip.png"))
    assert np.load(tmp_path / "poses.npz")["pose"].shape == (4, 14, 3)
    poses = list(Chem.SDMolSupplier(str(tmp_path / "poses.sdf"), sanitize=False))
    assert [pose.GetProp("_Name") for pose in poses] == [f"sample {i} in complex 0" for i in range(4)]
    assert poses[0].GetNumAtoms() == 9
    models = (tmp_path / "poses.pdb").read_text().split("MODEL ")[1:]
    assert len(models) == 4
    whole = Chem.MolFromPDBBlock(models[0].split("\n", 1)[1], sanitize=False)
    assert whole.GetNumAtoms() == 23 + 9  # residues and atoms of the ligand
    places = whole.GetConformer().GetPositions()
    np.testing.assert_allclose(places[23:], np.load(tmp_path / "poses.npz")["pose"][0, :9], atol=1e-3)
    code, output = command("sample", "--workdir", workdir, "--num_samples", 4, "--out", tmp_path / "shards")
    assert code == 0, output
    shard = np.load(next((tmp_path / "shards").glob("*.npz")))
    np.testing.assert_array_equal(shard["atoms"], np.load(tmp_path / "poses.npz")["atoms"])
    np.testing.assert_allclose(shard["pose"], np.load(tmp_path / "poses.npz")["pose"], atol=1e-4)
    with pytest.raises(UsageError, match="docking samples poses in given complexes"):
        trained.load(workdir).sample(4)
    code, output = command("evaluate", "--workdir", workdir, "--num_samples", 4)
    assert code == 0, output
    report = json.loads(next(workdir.glob("evaluation*.json")).read_text())
    assert {"rmsd_below_2", "rmsd_median", "centroid_below_2"} <= report["scores"].keys()

    sampled, ranked = tmp_path / "sampled", tmp_path / "confidence"
    code, output = command("distill", "--workdir", workdir, "--num_samples", 6, "--out", sampled)
    assert code == 0, output
    assert "holds 6 poses from step 2" in output
    assert "of them are within 2 A of the pose in the data" in output
    fields += [f"--config.first_run={workdir}", f"--config.data.distilled={sampled}"]
    code, output = command("train", "--config", "pdbbind:confidence", "--workdir", ranked, *fields)
    assert code == 0, output
    code, output = command("distill", "--workdir", ranked, "--out", tmp_path / "other")
    assert code == 2
    assert "holds a confidence model" in output
    code, output = command("sweep", "--workdir", ranked, "--num_samples", 4, "--steps", "1,2", "--temperature", 0.5)
    assert code == 0, output
    cells = json.loads((ranked / "sweep.json").read_text())["cells"]
    assert len(cells) == 2
    assert all({"top1_below_2", "confidence_accuracy"} <= scores.keys() for scores in cells.values())

    runs = shutil.ignore_patterns("run", "confidence", "sampled", "shards")
    moved = shutil.copytree(folder, tmp_path / "moved", ignore=runs)
    for name in ("train", "test"):
        (folder / name).unlink()
    code, output = command("sample", "--workdir", ranked, "--num_samples", 4, "--out", tmp_path / "again.npz")
    assert code == 2
    assert "it must name a text file in" in output
    sampling = ["--num_samples", 4, "--data_path", moved, "--out", tmp_path / "again.npz"]
    code, output = command("sample", "--workdir", ranked, *sampling)
    assert code == 0, output
    assert np.load(tmp_path / "again.npz")["confidence"].shape == (4,)
