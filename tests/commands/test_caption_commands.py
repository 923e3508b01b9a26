"""Captioning and text models as a user runs them: a tiny model is trained, sampled and evaluated."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from bitdiff import data, distill
from bitdiff.configs import expressions, shapes, text
from bitdiff.data import tokenizer
from bitdiff.inference import trained
from bitdiff.runtime.errors import UsageError
from bitdiff.training import workdir
from bitdiff.training.trainer import train


def tiny(config):
    config.network.update(dim=16, layers=1, head_dim=8)
    config.optimizer.update(warmup_steps=1, schedule="constant", name="adam")  # Muon takes seconds to compile
    config.train.update(steps=2, batch_size=4, log_every_steps=1, sample_every_steps=0)
    config.sample.update(steps=min(config.sample.steps, 2), lag=min(config.sample.lag, 1.0), batch_size=8)
    return config


def train_shapes(variant, folder):
    config = tiny(shapes.get_config(variant))
    config.encoder.update(dim=16, layers=1, head_dim=8)
    train(config, folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train_shapes("bits", tmp_path_factory.mktemp("shapes") / "run")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp("images")
    dataset = data.load(shapes.get_config().data)
    for i in range(5):
        Image.fromarray(dataset.test[i]["image"]).resize((40 + i, 40)).save(folder / f"{i:06d}.png")
    return folder


@pytest.mark.slow
def test_a_folder_of_images_is_captioned(command, run, images, tmp_path):
    out = tmp_path / "captions.json"
    code, output = command("sample", "--workdir", run, "--images", images, "--out", out)
    assert code == 0, output
    results = json.loads(out.read_text())
    assert [row["image_id"] for row in results] == [0, 1, 2, 3, 4]
    assert all(isinstance(row["caption"], str) for row in results)
    assert Image.open(tmp_path / "captions.png").size[0] == 4 * 200 + 8

    code, output = command("evaluate", "--workdir", run, "--num_samples", 20)
    assert code == 0, output
    assert "grammatical" in output
    scores = json.loads((run / "evaluation.json").read_text())["scores"]
    assert {"BLEU-1", "BLEU-4", "ROUGE-L", "CIDEr", "true", "complete", "invalid_codes"} <= scores.keys()
    assert "'none'" in scores["BLEU-4"]["about"]
    assert len(json.loads((run / "captions.json").read_text())) == 20

    code, output = command("evaluate", "--workdir", run, "--num_samples", 20, "--candidates", 3)
    assert code == 0, output
    assert json.loads((run / "evaluation.json").read_text())["provenance"]["candidates"] == 3
    assert len(json.loads((run / "captions.json").read_text())) == 20

    code, output = command("sweep", "--workdir", run, "--num_samples", 20, "--td", "0,2")
    assert code == 0, output
    assert "| sampler | steps | td | invalid_codes |" in output
    assert "| ddim | 2 | 2.0 | " in output
    assert "tokens_per_second" in output

    page = tmp_path / "page.html"
    code, output = command("report", "--workdir", run, "--num_samples", 4, "--frames", 2, "--out", page)
    assert code == 0, output
    text = page.read_text()
    assert text.count("pictures with sampled captions") == 1 + 2  # the samples and two frames
    assert "CIDEr" in text.split("<h2>Evaluation</h2>")[1].split("<h2>")[0]
    assert "tokens_per_second" in text.split("<h2>Sweep</h2>")[1].split("<h2>")[0]


@pytest.mark.slow
def test_the_autoregressive_baseline_is_evaluated_like_bit_diffusion(command, images, tmp_path):
    run = train_shapes("autoregressive", tmp_path / "run")
    code, output = command("evaluate", "--workdir", run, "--num_samples", 20, "--beams", 2)
    assert code == 0, output
    scores = json.loads((run / "evaluation.json").read_text())["scores"]
    assert {"BLEU-4", "true"} <= scores.keys()
    assert "invalid_codes" not in scores
    assert "2 beams" in output
    out = tmp_path / "captions.npz"
    code, output = command("sample", "--workdir", run, "--images", images, "--num_samples", 3, "--out", out)
    assert code == 0, output
    with np.load(out, allow_pickle=False) as file:
        assert file["text"].shape == (3,)
        assert file["tokens"].shape == (3, 13)

    model, test = trained.load(run), data.load(shapes.get_config().data).test
    pictures = np.stack([test[i]["image"] for i in range(4)])
    outputs = model.sample(images=pictures, beams=3)
    shard = distill._sequences(outputs)  # the arrays that bitdiff.distill --beams 3 writes
    assert shard["tokens"].shape == (4, 3, 13)
    np.testing.assert_array_equal(shard["tokens"][:, 0], outputs["tokens"])
    keys = jax.random.split(jax.random.key(0), 4)
    nats = [
        jax.jit(model.task.cross_entropy)(model.params, {"image": pictures, "tokens": beam[:, None]}, keys)[0]
        for beam in np.moveaxis(shard["tokens"], 1, 0)
    ]
    # Scores are log probabilities, but exclude padding before the end, which has a probability of about 1 / 40 here.
    scores = shard["scores"].T
    assert (scores[:-1] >= scores[1:]).all()
    np.testing.assert_allclose(scores - scores[0], nats[0] - np.array(nats), rtol=0.02)


@pytest.mark.slow
def test_a_model_learns_the_sequences_of_another(command, tmp_path):
    """Distillation of text: the sampled sequences replace the training split, and only complete folders are read."""
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(f"{a} {b} {c}" for a in "abcd" for b in "efgh" for c in "ijkl"))
    teacher = tiny(text.get_config("autoregressive"))
    teacher.data.path = str(lines)
    train(teacher, tmp_path / "teacher")
    out = tmp_path / "distilled"
    code, output = command("distill", "--workdir", tmp_path / "teacher", "--out", out, "--seed", 5)
    assert code == 0, output
    code, output = command("distill", "--workdir", tmp_path / "teacher", "--out", tmp_path / "x", "--sampler", "beam")
    assert code == 2
    assert "writes the same text every time; pass --sampler random" in output
    student = tiny(text.get_config())
    student.data.update(path=str(lines), distilled=str(out))
    dataset, own = data.load(student.data), data.load(teacher.data)
    assert len(dataset.train) == len(own.train)
    np.testing.assert_array_equal(dataset.test[0]["tokens"], own.test[0]["tokens"])
    with np.load(out / "00000.npz") as file:
        rows = [dataset.train[i]["tokens"] for i in range(5)]
        np.testing.assert_array_equal(rows, file["tokens"][:5, 0])
    train(student, tmp_path / "student")
    record = json.loads((out / "samples.json").read_text())
    record["run"]["data"]["vocab_size"] = 7
    (out / "samples.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"was sampled with data.vocab_size 7 instead of"):
        data.load(student.data)
    student.data.distilled = str(tmp_path)
    with pytest.raises(UsageError, match=r"is not a folder written by bitdiff.distill"):
        data.load(student.data)


def test_pictures_get_the_most_typical_captions_of_another_model(tmp_path):
    config = shapes.get_config()
    own = data.load(config.data)
    count = len(own.train)
    plain, rare = [[7, 8, 9] + [own.tokenizer.pad] * 10, [7, 8, 10] + [own.tokenizer.pad] * 10]
    tokens = np.broadcast_to(np.array([rare, plain], np.int32), (count, 2, 13)).copy()
    tokens[: count * 3 // 4] = tokens[: count * 3 // 4, ::-1]  # for most pictures, the best beam is the plain one
    scores = np.tile(np.float32([-1.0, -1.5]), (count, 1))
    scores[-1] = [-1.0, -9.0]
    np.savez(tmp_path / "00000.npz", tokens=tokens[:1000], scores=scores[:1000])
    np.savez(tmp_path / "00001.npz", tokens=tokens[1000:], scores=scores[1000:])
    facts = {"vocab_size": own.vocab_size, "tokenizer_hash": own.tokenizer.fingerprint(), "image_size": 32}
    (tmp_path / "samples.json").write_text(json.dumps({"run": {"data": facts}, "step": 3}))
    config.data.distilled = str(tmp_path)
    dataset = data.load(config.data)
    for i in (0, 7, count - 2):
        np.testing.assert_array_equal(dataset.train[i]["tokens"], [plain])
    np.testing.assert_array_equal(dataset.train[count - 1]["tokens"], [rare])  # its other beam is far worse
    np.testing.assert_array_equal(dataset.train[7]["image"], own.train[7]["image"])
    with pytest.raises(UsageError, match=r"captions_drawn is 4 .* with config.data.distilled, .* must be 1 and 0"):
        data.resolve(config, dataset)
    config.data.update(captions_drawn=1, curriculum_steps=0)
    data.resolve(config, dataset)
    (tmp_path / "00001.npz").unlink()
    with pytest.raises(UsageError, match="holds 1000 sequences of 13 tokens; it must hold 30000 of 13"):
        data.load(config.data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pass a folder of them as --images"),
        (["--images", "nowhere"], "there is no image folder nowhere"),
        (["--images", "IMAGES", "--frames", "2"], "captions are written to a .json or .npz file"),
        (["--images", "IMAGES", "--num_samples", "9"], "--num_samples is 9, but .* holds 5 images"),
    ],
)
@pytest.mark.slow
def test_bad_arguments_are_reported(command, run, images, arguments, message):
    import re

    code, output = command("sample", "--workdir", run, *[str(images) if a == "IMAGES" else a for a in arguments])
    assert code == 2
    assert re.search(message, output), output


@pytest.mark.slow
def test_an_unreadable_image_is_reported(command, run, images, tmp_path):
    folder = tmp_path / "some"
    shutil.copytree(images, folder)
    (folder / "000003.png").write_bytes(b"not an image")
    code, output = command("sample", "--workdir", run, "--images", folder, "--out", tmp_path / "x.json")
    assert code == 2
    assert "000003.png is not a readable image" in output


@pytest.mark.slow
def test_two_devices_train_like_one(command, run, tmp_path):
    fields = "network.dim=16 network.layers=1 network.head_dim=8 encoder.dim=16 encoder.layers=1 encoder.head_dim=8 "
    fields += "optimizer.warmup_steps=1 optimizer.schedule=constant optimizer.name=adam train.steps=2 "
    fields += "train.batch_size=4 train.log_every_steps=1 train.sample_every_steps=0"
    flags = [f"--config.{field}" for field in fields.split()]
    other = tmp_path / "run"
    code, output = command("train", "--config", "configs/shapes.py:bits", "--workdir", other, *flags, devices=2)
    assert code == 0, output

    def losses(folder):
        return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]

    assert losses(other) == pytest.approx(losses(run), rel=1e-5)


@pytest.mark.slow
def test_a_run_does_not_resume_with_another_vocabulary(run):
    config = trained.load(run).config
    workdir.check_unchanged(run, config)
    config.data.tokenizer = "moved.model"
    workdir.check_unchanged(run, config)
    config.data.tokenizer_hash = "0123"
    with pytest.raises(UsageError, match=r"config.data.tokenizer_hash: .* in the workdir, '0123' now"):
        workdir.check_unchanged(run, config)


@pytest.mark.slow
def test_a_mismatched_vocabulary_is_refused(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    (copy / "tokenizer.model").write_bytes(tokenizer.train(["some other words"], 40, "word").to_bytes())
    with pytest.raises(UsageError, match=r"has 7 pieces .*, but the run was trained with a different tokenizer"):
        trained.load(copy)
    (copy / "tokenizer.model").unlink()
    with pytest.raises(UsageError, match="there is no SentencePiece model"):
        trained.load(copy)


@pytest.mark.slow
def test_more_captions_than_pictures_are_refused(command, run):
    code, output = command("evaluate", "--workdir", run, "--num_samples", 2_001)
    assert code == 2
    assert "one per test picture, but there are only 2000" in output


@pytest.mark.slow
def test_a_text_model_trains_samples_and_evaluates(command, tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n".join(f"the {a} {b} ran" for a in ("old", "new", "red") for b in ("dog", "cat", "cow")))
    config = tiny(text.get_config("softmax"))
    config.data.update(path=str(path), length=8, vocab_size=32, tokenizer_kind="word")
    train(config, tmp_path / "run")
    assert trained.load(tmp_path / "run").config.data.vocab_size == 12  # 32 were allowed
    out = tmp_path / "samples.npz"
    code, output = command("sample", "--workdir", tmp_path / "run", "--num_samples", 4, "--out", out)
    assert code == 0, output
    with np.load(out, allow_pickle=False) as file:
        assert len(file["text"]) == 4
    assert len((tmp_path / "samples.txt").read_text().splitlines()) == 4
    code, output = command("evaluate", "--workdir", tmp_path / "run", "--num_samples", 8)
    assert code == 0, output
    assert "marginal_tv" in output
    assert "distinct_2_real" in output

    baseline = tiny(text.get_config("autoregressive"))
    baseline.data = config.data
    train(baseline, tmp_path / "baseline")
    arguments = ("--workdir", tmp_path / "run", "--num_samples", 8, "--baseline", tmp_path / "baseline")
    code, output = command("evaluate", *arguments)
    assert code == 0, output
    report = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert report["provenance"]["baseline"]["step"] == 2
    assert report["scores"]["perplexity"]["value"] == pytest.approx(12, rel=0.5)  # hardly trained: near 12 tokens
    assert "perplexity_real" in report["scores"]


@pytest.mark.slow
def test_a_model_of_expressions_samples_and_evaluates(command, tmp_path):
    config = tiny(expressions.get_config("bits"))
    config.data.length = 16
    train(config, tmp_path / "run")
    out = tmp_path / "samples.npz"
    code, output = command("sample", "--workdir", tmp_path / "run", "--num_samples", 4, "--out", out)
    assert code == 0, output
    assert len((tmp_path / "samples.txt").read_text().splitlines()) == 4
    code, output = command("evaluate", "--workdir", tmp_path / "run", "--num_samples", 8)
    assert code == 0, output
    assert "fraction of sentences that state the right value" in output


@pytest.mark.slow
def test_a_tokenizer_is_trained(command, tmp_path):
    path = tmp_path / "captions.json"
    path.write_text(json.dumps({"annotations": [{"caption": "a cat on a mat"}, {"caption": "the dog ran"}]}))
    out = tmp_path / "some.model"
    code, output = command("train_tokenizer", "--input", path, "--vocab_size", 20, "--kind", "word", "--out", out)
    assert code == 0, output
    assert "11 pieces from 2 texts" in output
    assert tokenizer.load(out).vocab_size == 11
    path.write_text("{}")
    code, output = command("train_tokenizer", "--input", path, "--out", out)
    assert code == 2
    assert "does not have the layout of COCO's captions" in output
