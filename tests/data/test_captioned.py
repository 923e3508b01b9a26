import json
import types

import numpy as np
import pytest
from PIL import Image

from bitdiff import data
from bitdiff.configs import coco, text
from bitdiff.configuration import presets
from bitdiff.data import captioned, tokenizer
from bitdiff.data.dataset import Arrays
from bitdiff.runtime.errors import UsageError
from bitdiff.training.loop import Progress
from bitdiff.training.trainer import train

CAPTIONS = ["A cat on a mat.", "The cat sits.", "One cat.", "A mat with a cat on it.", "It is a cat.", "Sixth cat."]


def write_coco(root, count=4, captions=5, **changes):
    """Writes a folder in the layout of the official release, with pictures of several sizes."""
    (root / "annotations").mkdir(parents=True)
    for split, first in (("train2017", 10), ("val2017", 90)):
        (root / split).mkdir()
        images, annotations = [], []
        for i in range(count):
            number = first + i
            name = f"{number:012d}.jpg"
            Image.new("RGB", (40 + i, 30), (60 * i, 99, 30)).save(root / split / name)
            images.append({"id": number, "file_name": name, "height": 30, "width": 40 + i})
            annotations += [{"id": i, "image_id": number, "caption": CAPTIONS[j]} for j in range(captions)]
        content = {"images": images[::-1], "annotations": annotations} | changes
        (root / "annotations" / f"captions_{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def pieces(tmp_path):
    path = tmp_path / "some.model"
    path.write_bytes(tokenizer.train(CAPTIONS, 64, "word").to_bytes())
    return path


def options(root, pieces, **fields):
    section = coco.get_config().data
    section.update(
        {"path": str(root), "tokenizer": str(pieces), "image_size": 16, "length": 12, "vocab_size": 0, **fields}
    )
    return section


def test_the_official_layout_is_read(tmp_path, pieces):
    dataset = data.load(options(write_coco(tmp_path / "coco", captions=6), pieces))
    assert (len(dataset.train), len(dataset.test)) == (4, 4)
    example = dataset.train[1]
    assert example["image"].shape == (16, 16, 3)
    assert abs(int(example["image"][..., 0].mean()) - 60) < 6
    assert example["tokens"].shape == (5, 12)
    assert [dataset.tokenizer.decode(row) for row in example["tokens"]] == CAPTIONS[:5]
    assert dataset.test.captions(0) == CAPTIONS  # all captions are references
    assert [dataset.test.id(i) for i in range(4)] == [90, 91, 92, 93]


def test_captions_are_repeated_if_there_are_too_few(tmp_path, pieces):
    dataset = data.load(options(write_coco(tmp_path / "coco", captions=2), pieces))
    texts = [dataset.tokenizer.decode(row) for row in dataset.train[0]["tokens"]]
    assert texts == [CAPTIONS[i] for i in (0, 1, 0, 1, 0)]


def break_json(root):
    (root / "annotations" / "captions_val2017.json").write_text("{")


def remove_image(root):
    (root / "val2017" / "000000000091.jpg").unlink()


def replaced(old, new):
    """Replaces text in the training split's annotations."""

    def spoil(root):
        path = root / "annotations" / "captions_train2017.json"
        content = path.read_text()
        assert old in content
        path.write_text(content.replace(old, new))

    return spoil


def no_pictures(root):
    (root / "annotations" / "captions_val2017.json").write_text('{"images": [], "annotations": []}')


@pytest.mark.parametrize(
    ("spoil", "fields", "message"),
    [
        (break_json, {}, "captions_val2017.json does not have the layout of COCO's captions"),
        (remove_image, {}, r"1 are not in .*val2017: \['000000000091.jpg'\]"),
        (replaced("The cat sits.", " "), {}, "a caption of 000000000010.jpg in train2017: the text is empty"),
        (
            replaced('"The cat sits."', "null"),
            {},
            "a caption of picture 10 in .*captions_train2017.json is None; it must be a string",
        ),
        (
            replaced('"image_id": 12', '"image_id": 999'),
            {},
            "a caption for picture 999, which is not among its pictures",
        ),
        (replaced('{"id": 12, "file_name"', '{"id": 11, "file_name"'), {}, r"repeats picture ids: \[11\]"),
        (no_pictures, {}, "captions_val2017.json lists no pictures"),
        (replaced("000000000010.jpg", "../val2017/000000000090.jpg"), {}, "1 are not in .*train2017"),
        (None, {"length": 5, "cut": False}, "a caption of 000000000010.jpg in train2017: .* config.data.length is 5"),
        (None, {"train_split": "train2014"}, "there is no annotations file .*captions_train2014.json"),
        (None, {"path": "nowhere"}, "there is no folder 'nowhere'; it must contain annotations/"),
        (None, {"tokenizer": ""}, "config.data.tokenizer is empty; train a model with"),
        (None, {"resize": "none"}, "set config.data.image_size and config.data.resize"),
        (None, {"captions": 0}, "config.data.captions is 0; they must be at least"),
    ],
)
def test_bad_data_are_reported(tmp_path, pieces, spoil, fields, message):
    root = write_coco(tmp_path / "coco")
    if spoil:
        spoil(root)
    with pytest.raises(UsageError, match=message):
        data.load(options(root, pieces, **fields))


def test_a_damaged_picture_is_reported(tmp_path, pieces):
    root = write_coco(tmp_path / "coco")
    path = root / "train2017" / "000000000011.jpg"
    path.write_bytes(path.read_bytes()[:300])
    dataset = data.load(options(root, pieces))
    with pytest.raises(UsageError, match=r"000000000011.jpg"):
        dataset.train[1]


def shrink(config):
    config.data.update(image_size=16, length=12, vocab_size=0)
    config.encoder.update(patch=8, dim=16, layers=1, head_dim=8)
    config.network.update(dim=16, layers=1, head_dim=8)
    config.optimizer.warmup_steps = 1
    config.train.update(steps=2, batch_size=4, log_every_steps=1, sample_every_steps=2)
    config.sample.update(batch_size=4, steps=min(config.sample.steps, 2))
    return config


@pytest.mark.parametrize("variant", presets.CAPTION_MODELS)
@pytest.mark.slow
def test_every_model_trains_two_steps_on_the_official_layout(variant, tmp_path, pieces):
    config = shrink(coco.get_config(variant))
    config.data.update(path=str(write_coco(tmp_path / "coco")), tokenizer=str(pieces))
    assert train(config, tmp_path / "run") == Progress(2, None)
    assert (tmp_path / "run" / "tokenizer.model").exists()
    assert list((tmp_path / "run" / "samples").glob("*.png"))


@pytest.fixture
def mocked_coco(monkeypatch):
    """Mocks COCO in TFDS, whose builder needs TensorFlow only for a dtype and whose files do not need it."""
    import tensorflow_datasets as tfds
    from tensorflow_datasets.object_detection import coco as theirs

    monkeypatch.setattr(theirs, "tf", types.SimpleNamespace(int64=np.int64))
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=8):
        yield


@pytest.mark.slow
def test_karpathys_split_is_read_through_tfds(tmp_path, mocked_coco):
    pieces = tmp_path / "letters.model"
    pieces.write_bytes(tokenizer.train(["abcdefghij jihgfedcba"], 30, "char").to_bytes())
    config = shrink(coco.get_config("bits_karpathy"))
    config.data.tokenizer = str(pieces)
    dataset = data.load(config.data)
    assert "train+restval / test" in dataset.about
    example = dataset.train[3]
    assert example["image"].shape == (16, 16, 3)
    assert example["tokens"].shape == (5, 12)
    first = dataset.train.captions(3)[0]
    assert first.startswith(dataset.tokenizer.decode(example["tokens"][0]).strip())
    assert isinstance(dataset.test.id(0), int)
    assert train(config, tmp_path / "run") == Progress(2, None)


def test_prepared_files_need_no_tensorflow(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds
    from tensorflow_datasets.object_detection import coco as theirs

    section = coco.get_config("bits_karpathy").data
    section.path = str(tmp_path)
    with pytest.raises(UsageError, match=r"coco_captions is not prepared in .*, and preparing it requires TensorFlow"):
        data.tfds.make_builder(section)
    with monkeypatch.context() as patch:
        patch.setattr(theirs, "tf", types.SimpleNamespace(int64=np.int64))
        builder = tfds.builder("coco_captions", data_dir=str(tmp_path))
        folder = tmp_path / "coco_captions" / "2014" / "1.1.0"
        folder.mkdir(parents=True)
        builder.info.write_to_directory(folder)
        builder.info.features.save_config(folder)
    found = data.tfds.make_builder(section)
    assert found.info.features["captions"].feature.keys() == {"id", "text"}


def test_files_without_random_access_are_reported(tmp_path, mocked_coco, pieces, monkeypatch):
    import tensorflow_datasets as tfds

    def refuse(self, **_):
        raise NotImplementedError("tfrecord has no random access")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "as_data_source", refuse)
    section = coco.get_config("bits_karpathy").data
    section.tokenizer = str(pieces)
    with pytest.raises(UsageError, match=r"split 'train\+restval' of .* cannot be read: tfrecord has no random access"):
        data.load(section)


def test_a_text_file_is_read_line_by_line(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("\n" + "\n".join(CAPTIONS * 5) + "\n\n")
    section = text.get_config().data
    section.update(path=str(path), length=12, vocab_size=40, tokenizer_kind="word")
    dataset = data.load(section)
    assert (len(dataset.train), len(dataset.test)) == (27, 3)
    assert dataset.tokenizer.decode(dataset.train[0]["tokens"]) in CAPTIONS
    for fields, message in (
        ({"length": 4}, "15 of the 30 lines of .*lines.txt have more than 4 tokens.*line 5 is the longest, with 8"),
        ({"vocab_size": 0}, "set config.data.tokenizer, or config.data.vocab_size"),
        ({"path": str(tmp_path / "none.txt")}, "there is no text file"),
        ({"length": 1}, "30 of the 30 lines"),
    ):
        with pytest.raises(UsageError, match=message):
            data.load(type(section)(section.to_dict() | fields))
    (tmp_path / "empty.txt").write_text("\n \n")
    section.path = str(tmp_path / "empty.txt")
    with pytest.raises(UsageError, match="holds no text"):
        data.load(section)
    (tmp_path / "bad.txt").write_bytes(b"\xff\xfe\x00a")
    section.path = str(tmp_path / "bad.txt")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        data.load(section)


def test_crops_are_squares_from_the_picture():
    """Pixel values encode their positions, so a crop shows where it was taken from."""
    rows, columns = np.mgrid[0:16, 0:16] * 16
    image = np.stack([rows, columns, rows * 0], axis=-1).astype(np.uint8)
    source = Arrays({"image": np.stack([image] * 64)})
    cropped = next(data.batches(source, batch_size=64, seed=0, crop=0.5))["image"]
    np.testing.assert_array_equal(next(data.batches(source, batch_size=64, seed=0, crop=0.5))["image"], cropped)
    assert cropped.shape == (64, 16, 16, 3)
    tall, wide = (np.ptp(cropped[..., axis].astype(int), axis=(1, 2)) / 16 + 1 for axis in (0, 1))
    np.testing.assert_allclose(tall, wide, atol=0.2)
    assert 7.8 <= tall.min() < 9
    assert 15 < tall.max() <= 16
    assert len({int(value) for value in cropped[:, 0, 0, 0]}) > 5  # taken from many places


def test_captions_are_drawn_according_to_a_curriculum(pieces, tmp_path):
    dataset = data.load(options(write_coco(tmp_path / "coco"), pieces))

    def drawn(**fields):
        iterator = data.batches(dataset.train, batch_size=4, seed=0, **fields)
        batches = [next(iterator)["tokens"] for _ in range(40)]
        return [[dataset.tokenizer.decode(row) for row in rows] for batch in batches for rows in batch]

    every = drawn(captions=2)
    assert all(len(set(rows)) == 2 for rows in every)
    assert {text for rows in every for text in rows} == set(CAPTIONS[:5])
    counts = [sum(text in rows for rows in every) for text in CAPTIONS[:5]]
    assert min(counts) > 0.5 * 160 * 2 / 5  # all equally often, up to chance
    growing = drawn(captions=1, curriculum_steps=40)
    assert {text for rows in growing[:80] for text in rows} == {CAPTIONS[0]}
    # The second half has three intervals of 27 rows, with two, four and all five captions.
    assert {text for rows in growing[80:106] for text in rows} == set(CAPTIONS[:2])
    assert {text for rows in growing[108:133] for text in rows} == set(CAPTIONS[:4])
    assert {text for rows in growing[135:] for text in rows} == set(CAPTIONS[:5])
    assert drawn(captions=1, curriculum_steps=40) == growing


def test_annotations_are_sorted(tmp_path):
    root = write_coco(tmp_path / "coco")
    entries = captioned.read_annotations(root / "annotations" / "captions_train2017.json", root / "train2017")
    assert [entry.id for entry in entries] == [10, 11, 12, 13]
