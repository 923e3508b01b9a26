import fcntl
import os
import sys

import numpy as np
import pytest
from PIL import Image

from bitdiff import data
from bitdiff.configuration import base_config, load_config
from bitdiff.data import from_arrays, photo_crops, preparing, token_pairs
from bitdiff.data.dataset import Arrays, Subset, assign_labels, label_frequencies, split, stack
from bitdiff.runtime.errors import UsageError


def section(**fields):
    options = base_config().data
    options.update(fields)
    return options


def save_images(folder, count, size=(6, 6), mode="RGB", start=0):
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(start, start + count):
        Image.new(mode, size, i if mode == "L" else (i, 2 * i, 3 * i)).save(folder / f"{i:03d}.png")


def test_the_digits_split_is_fixed():
    digits = data.load(section(name="digits"))
    train, test = stack(digits.train), stack(digits.test)
    assert train["image"].shape == (1438, 8, 8, 1)
    assert test["image"].shape == (359, 8, 8, 1)
    assert train["image"].dtype == np.uint8
    assert train["image"].max() == digits.vocab_size - 1 == 16
    assert sorted(set(train["label"])) == list(range(10))
    # Every published number depends on this split.
    assert int(test["image"].astype(int).sum()) == 111_747
    assert test["label"][:10].tolist() == [4, 5, 6, 9, 4, 7, 8, 9, 9, 6]
    np.testing.assert_allclose(digits.label_frequencies, np.bincount(train["label"]) / 1438)
    every = np.concatenate([train["image"], test["image"]]).reshape(1797, -1)
    from sklearn.datasets import load_digits

    np.testing.assert_array_equal(np.sort(every.sum(1)), np.sort(load_digits().data.sum(1)))


def test_mixture_follows_its_distribution():
    assert token_pairs.probabilities().sum() == pytest.approx(1)
    drawn = token_pairs.draw(200_000, seed=5)
    counts = np.zeros((16, 16))
    np.add.at(counts, tuple(drawn.T), 1)
    # The largest probability is about 0.05, so one standard error is below 5e-4.
    np.testing.assert_allclose(counts / 200_000, token_pairs.probabilities(), atol=2.5e-3)


def test_splits_are_disjoint_complete_and_fixed():
    source = Arrays({"tokens": np.arange(50)[:, None]})
    train, test = split(source, 0.2)
    values = [set(stack(part)["tokens"].ravel().tolist()) for part in (train, test)]
    assert values[0] | values[1] == set(range(50))
    assert not values[0] & values[1]
    assert len(test) == 10
    assert [e["tokens"] for e in split(source, 0.2)[1]] == [e["tokens"] for e in test]
    with pytest.raises(UsageError, match="leaves none of 1 examples for training"):
        split(Arrays({"tokens": np.zeros((1, 1))}), 0.9)
    with pytest.raises(UsageError, match=r"test_fraction is 1.0"):
        split(source, 1.0)


def test_labels_are_assigned_by_frequency():
    frequencies = label_frequencies(np.array([0, 0, 0, 2]), 4)
    assert frequencies == (0.75, 0, 0.25, 0)
    assigned = assign_labels(frequencies, 100)
    assert np.bincount(assigned, minlength=4).tolist() == [75, 0, 25, 0]
    assert assigned[:20] != tuple(sorted(assigned))[:20]
    assert assigned == assign_labels(frequencies, 100)
    assert len(assign_labels((1 / 3, 1 / 3, 1 / 3), 10)) == 10


def test_subfolders_are_classes(tmp_path):
    save_images(tmp_path / "b", 3)
    save_images(tmp_path / "a", 2, start=10)
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "notes.txt").write_text("not an image")
    dataset = data.load(section(name="folder", path=str(tmp_path), test_fraction=0.0))
    assert dataset.class_names == ("a", "b")
    assert dataset.shape == (6, 6, 3)
    images = stack(dataset.train)
    assert images["label"].tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(images["image"][0], np.broadcast_to([10, 20, 30], (6, 6, 3)))
    assert len(dataset.test) == 0


def test_a_flat_folder_of_gray_images_has_no_classes(tmp_path):
    save_images(tmp_path, 4, mode="L")
    dataset = data.load(section(name="folder", path=str(tmp_path), test_fraction=0.25))
    assert (dataset.shape, dataset.num_classes, len(dataset.train), len(dataset.test)) == ((6, 6, 1), 0, 3, 1)
    assert "label" not in dataset.train[0]
    color = data.load(section(name="folder", path=str(tmp_path), channels=3))
    assert color.shape == (6, 6, 3)


def test_resizing_crops_the_center(tmp_path):
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, 2:6] = 200
    Image.fromarray(picture).save(tmp_path / "wide.png")
    save_images(tmp_path, 1, size=(3, 3))
    options = section(name="folder", path=str(tmp_path), image_size=2, resize="box", test_fraction=0.0)
    assert (data.load(options).train[1]["image"] == 200).all()


def test_bad_folders_are_reported(tmp_path):
    def load(path, **fields):
        return data.load(section(name="folder", path=str(path), **fields))

    with pytest.raises(UsageError, match=r"config.data.path: there is no folder '.*missing'"):
        load(tmp_path / "missing")
    with pytest.raises(UsageError, match="holds no images"):
        load(tmp_path)
    save_images(tmp_path / "mixed", 2)
    save_images(tmp_path / "mixed", 1, size=(7, 6), start=5)
    with pytest.raises(UsageError, match=r"005.png is 7 x 6 pixels, not 6 x 6; set config.data.resize"):
        load(tmp_path / "mixed")
    with pytest.raises(UsageError, match=r"unknown resize method .* 'area'; valid names are: none, box"):
        load(tmp_path / "mixed", resize="area")
    with pytest.raises(UsageError, match="channels is 2"):
        load(tmp_path / "mixed", channels=2)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "x.png").write_bytes(b"no picture")
    with pytest.raises(UsageError, match=r"x.png is not a readable image"):
        load(tmp_path / "broken")
    save_images(tmp_path / "beside", 1)
    save_images(tmp_path / "beside" / "class", 1)
    with pytest.raises(UsageError, match="beside folders of images"):
        load(tmp_path / "beside")
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.zeros((6, 6), np.uint16)).save(tmp_path / "deep" / "deep.png")
    with pytest.raises(UsageError, match="only images with 8 bits per channel"):
        load(tmp_path / "deep")


def test_an_image_damaged_after_its_header_is_reported(tmp_path):
    rng = np.random.RandomState(0)
    Image.fromarray(rng.randint(0, 256, (64, 64, 3), np.uint8)).save(tmp_path / "cut.png")
    content = (tmp_path / "cut.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(content[: len(content) // 2])
    with pytest.raises(UsageError, match=r"cut.png is damaged"):
        data.load(section(name="folder", path=str(tmp_path)))


def test_huge_images_are_refused(tmp_path):
    Image.new("L", (9000, 9000)).save(tmp_path / "bomb.png")
    with pytest.raises(UsageError, match="9000 x 9000 pixels"):
        data.load(section(name="folder", path=str(tmp_path)))


def test_npz_files_are_read(tmp_path):
    path = tmp_path / "data.npz"
    images = np.random.RandomState(0).randint(0, 256, (10, 4, 4, 3), np.uint8)
    np.savez(path, image=images, label=np.arange(10) % 3)
    dataset = data.load(section(name="npz", path=str(path), test_fraction=0.0))
    assert (dataset.shape, dataset.vocab_size, dataset.num_classes) == ((4, 4, 3), 256, 3)
    np.testing.assert_array_equal(stack(dataset.train)["image"], images)

    np.savez(path, tokens=np.array([[0, 5], [3, 1]]))
    dataset = data.load(section(name="npz", path=str(path), test_fraction=0.0))
    assert (dataset.field, dataset.shape, dataset.vocab_size, dataset.num_classes) == ("tokens", (2,), 6, 0)
    np.savez(path, image=images[..., 0])
    assert data.load(section(name="npz", path=str(path))).shape == (4, 4, 1)


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ({"image": np.zeros((2, 4, 4, 3), np.float32)}, {}, "`image` is float32"),
        ({"image": np.zeros((2, 4, 5, 3), np.uint8)}, {}, "4 x 5 pixels; they must be square"),
        ({"image": np.full((2, 4, 4, 1), 20, np.uint8)}, {"vocab_size": 17}, "outside the vocabulary of 17"),
        ({"tokens": np.zeros((2, 3))}, {}, "`tokens` is float64"),
        ({"tokens": np.array([[-1]])}, {}, "values from -1"),
        ({"tokens": np.array([[2**40]])}, {}, "must be below"),
        ({"tokens": np.zeros((0, 3), int)}, {}, "holds no examples"),
        ({"other": np.zeros(3)}, {}, "must hold either `image` or `tokens`"),
        ({"tokens": np.zeros((2, 3), int), "label": np.zeros(3, int)}, {}, "`label` is int64"),
        ({"tokens": np.zeros((2, 3), int), "label": np.array([0, -1])}, {}, "labels must be from 0"),
        ({"tokens": np.array([[{}]], dtype=object)}, {}, "cannot be read as an .npz file of plain arrays"),
    ],
)
def test_bad_npz_files_are_reported(tmp_path, arrays, options, message):
    path = tmp_path / "data.npz"
    np.savez(path, **arrays)
    with pytest.raises(UsageError, match=message):
        data.load(section(name="npz", path=str(path), **options))


def test_a_missing_or_damaged_npz_file_is_reported(tmp_path):
    with pytest.raises(UsageError, match="there is no file"):
        data.load(section(name="npz", path=str(tmp_path / "none.npz")))
    path = tmp_path / "data.npz"
    np.savez(path, tokens=np.zeros((20, 3), int))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UsageError, match=r"is not an .npz file, or was cut short"):
        data.load(section(name="npz", path=str(path)))
    np.save(tmp_path / "plain.npy", np.zeros(3))
    (tmp_path / "plain.npy").rename(tmp_path / "plain.data")
    with pytest.raises(UsageError, match=r"is not an .npz file"):
        data.load(section(name="npz", path=str(tmp_path / "plain.data")))


def test_npy_files_are_memory_mapped(tmp_path):
    images = np.random.RandomState(0).randint(0, 256, (10, 4, 4, 3), np.uint8)
    np.save(tmp_path / "x.npy", images)
    dataset = data.load(section(name="npz", path=str(tmp_path / "x.npy"), test_fraction=0.0))
    np.testing.assert_array_equal(stack(dataset.train)["image"], images)
    assert isinstance(dataset.train[0]["image"].base, np.memmap)
    assert dataset.num_classes == 0
    np.save(tmp_path / "x.label.npy", np.arange(10) % 2)
    assert data.load(section(name="npz", path=str(tmp_path / "x.npy"))).num_classes == 2
    np.save(tmp_path / "t.npy", np.array([[0, 5], [3, 1]], np.uint16))
    dataset = data.load(section(name="npz", path=str(tmp_path / "t.npy"), test_fraction=0.0))
    assert isinstance(dataset.train._source._arrays["tokens"], np.memmap)
    assert dataset.train[0]["tokens"].dtype == dataset.train.take(np.array([1, 0]))["tokens"].dtype == np.int32
    assert (dataset.field, dataset.vocab_size) == ("tokens", 6)


def mixture_config(**fields):

    config = load_config("mixture")
    config.data.update(fields)
    return config


def test_paths_in_a_config_become_absolute(tmp_path, monkeypatch):
    from bitdiff.configs import npz

    monkeypatch.chdir(tmp_path)
    np.savez("x.npz", tokens=np.zeros((5, 2), int))
    config = npz.get_config("tokens")
    config.data.path = "x.npz"
    filled = data.resolve(config, data.load(config.data))
    assert filled.data.path == str(tmp_path / "x.npz")
    assert (filled.data.length, filled.data.vocab_size, filled.data.num_classes) == (2, 2, 0)


def test_the_config_is_filled_in_from_the_data(make_config):
    config = make_config(**{"data.image_size": 0, "data.channels": 0, "data.vocab_size": 0, "data.num_classes": -1})
    dataset = data.load(config.data)
    filled = data.resolve(config, dataset)
    assert (filled.data.image_size, filled.data.channels, filled.data.vocab_size) == (8, 1, 17)
    assert filled.data.num_classes == 10
    assert data.resolve(make_config(**{"data.num_classes": 0}), dataset).data.num_classes == 0
    for field, value, message in [
        ("image_size", 16, "image_size is 16, but the data have 8"),
        ("vocab_size", 8, "vocab_size is 8, but the data have 17"),
        ("num_classes", 3, "num_classes is 3; it must be 10, as in the data"),
    ]:
        with pytest.raises(UsageError, match=message):
            data.resolve(make_config(**{f"data.{field}": value}), dataset)
    with pytest.raises(UsageError, match=r"flip or .*crop is set, but tokens cannot be flipped or cropped"):
        data.resolve(mixture_config(flip=True), data.load(section(name="mixture")))
    with pytest.raises(UsageError, match=r"require 'config.task=images'"):
        data.resolve(make_config(task="tokens"), dataset)
    with pytest.raises(UsageError, match=r"unknown data set .* 'mnist'; valid names are: digits"):
        data.load(section(name="mnist"))


def test_photo_crops_of_the_two_splits_do_not_overlap():
    dataset = data.load(section(name="photos", image_size=16))
    assert dataset.shape == (16, 16, 3)
    assert dataset.class_names == ("china", "flower")
    from sklearn.datasets import load_sample_image

    china = load_sample_image("china.jpg")
    np.testing.assert_array_equal(dataset.train[0]["image"], china[:16, :16])
    np.testing.assert_array_equal(dataset.train[1]["image"], china[:16, 2:18])
    np.testing.assert_array_equal(dataset.test[0]["image"], china[:16, 480:496])
    last = dataset.train[len(dataset.train) - 1]
    assert last["label"] == 1
    assert last["image"].shape == (16, 16, 3)
    assert len(dataset.train) > 50_000
    with pytest.raises(IndexError):
        dataset.train[len(dataset.train)]
    with pytest.raises(UsageError, match="image_size is 0"):
        data.load(section(name="photos"))


@pytest.fixture
def mocked_tfds(monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    with tfds.testing.mock_data(num_examples=8):
        yield


@pytest.mark.parametrize(
    ("fields", "shape", "num_classes"),
    [
        ({"builder": "cifar10", "test_split": "test"}, (32, 32, 3), 10),
        ({"builder": "fashion_mnist", "test_split": "test", "image_size": 14, "resize": "box"}, (14, 14, 1), 10),
        ({"builder": "imagenet_resized/64x64", "test_split": "validation"}, (64, 64, 3), 1000),
        (
            {"builder": "downsampled_imagenet/64x64", "test_split": "validation", "image_size": 64, "resize": "box"},
            (64, 64, 3),
            0,
        ),
        ({"builder": "imagenet2012", "test_split": "validation", "image_size": 64, "resize": "box"}, (64, 64, 3), 1000),
    ],
)
def test_tfds_data_sets_are_read_without_tensorflow(mocked_tfds, fields, shape, num_classes):
    dataset = data.load(section(name="tfds", train_split="train", **fields))
    assert (dataset.shape, dataset.num_classes) == (shape, num_classes)
    example = dataset.train[3]
    assert example["image"].shape == shape
    assert example["image"].dtype == np.uint8
    assert ("label" in example) == (num_classes > 0)
    assert fields["builder"] in dataset.about
    assert "tensorflow" not in sys.modules


def test_missing_tfds_data_sets_are_reported(tmp_path):
    def load(**fields):
        return data.load(section(name="tfds", path=str(tmp_path), train_split="train", test_split="test", **fields))

    with pytest.raises(UsageError, match=r"cifar10/3.0.2 is not prepared in .*python -m bitdiff.prepare"):
        load(builder="cifar10")
    with pytest.raises(UsageError, match="TFDS has no 'cifar11'"):
        load(builder="cifar11")


def test_images_of_many_sizes_require_an_image_size(mocked_tfds):
    fields = {"name": "tfds", "builder": "imagenet2012", "train_split": "train", "test_split": "validation"}
    with pytest.raises(UsageError, match="holds images of many sizes"):
        data.load(section(**fields))
    dataset = data.load(section(**fields, image_size=64))
    with pytest.raises(UsageError, match=r"not 64 x 64; set config.data.resize"):
        dataset.train[0]


def test_a_failed_download_reports_what_to_do(tmp_path, monkeypatch, capsys):
    import tensorflow_datasets as tfds

    def fail(self, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    options = section(name="tfds", builder="cifar10", path=str(tmp_path))
    with pytest.raises(UsageError, match=r"(?s)could not be prepared in .*no route to host.*--config.data.name=folder"):
        preparing.download(options)
    with pytest.raises(UsageError, match="only 'tfds' data sets can be downloaded"):
        preparing.download(section(name="digits"))
    monkeypatch.setattr(tfds.core.DatasetBuilder, "is_prepared", lambda self: True)
    preparing.download(options)
    assert "cifar10/3.0.2 is prepared" in capsys.readouterr().out


@pytest.mark.slow
def test_prepared_images_equal_those_of_the_folder(tmp_path, capsys):
    for i, name in enumerate(("ash", "oak")):
        save_images(tmp_path / "trees" / name, 600 * (i + 1), (9, 7), start=0)
    options = section(name="folder", path=str(tmp_path / "trees"), image_size=4, resize="box", test_fraction=0.01)
    preparing.write_images(data.load(options), tmp_path / "out")
    assert "--config.data.name=prepared" in capsys.readouterr().out
    made, direct = data.load(section(name="prepared", path=str(tmp_path / "out"))), data.load(options)
    assert made._replace(train=None, test=None) == direct._replace(train=None, test=None)
    for a, b in ((made.train, direct.train), (made.test, direct.test)):
        for name, values in stack(b).items():
            np.testing.assert_array_equal(stack(a)[name], values)
    assert isinstance(made.train[0]["image"], np.memmap)
    preparing.write_images(data.load(options), tmp_path / "out")  # already done
    with pytest.raises(UsageError, match=r"holds other data \(different: shape, fingerprint\)"):
        preparing.write_images(data.load(section(**{**options, "image_size": 3})), tmp_path / "out")
    with pytest.raises(UsageError, match="is not empty and holds no prepared images"):
        preparing.write_images(data.load(options), tmp_path / "trees")
    with pytest.raises(UsageError, match="only images can be prepared"):
        preparing.write_images(data.load(section(name="mixture", length=2, vocab_size=4)), tmp_path / "mixture")
    content = (tmp_path / "out" / "train.npy").read_bytes()
    for damage, message in (
        (b"", "are damaged"),
        (content[:-100], "are damaged"),  # NumPy would pad it with black pixels
        (content.replace(b"|u1", b"|i1", 1), r"are damaged: `image` in train.npy is int8 \[1782"),
    ):
        (tmp_path / "out" / "train.npy").write_bytes(damage)
        with pytest.raises(UsageError, match=message):
            data.load(section(name="prepared", path=str(tmp_path / "out")))
        with pytest.raises(UsageError, match=r"the prepared images in .* are damaged .*start from scratch"):
            preparing.write_images(data.load(options), tmp_path / "out")


def test_a_stopped_preparation_resumes(tmp_path, monkeypatch):
    options = section(name="photos", image_size=60)
    read = []
    getitem = photo_crops.Crops.__getitem__

    def until(limit):
        def get(self, index):
            read.append(index)
            if len(read) > limit:
                raise KeyboardInterrupt
            return getitem(self, index)

        monkeypatch.setattr(photo_crops.Crops, "__getitem__", get)

    dataset = data.load(options)
    few = dataset._replace(train=Subset(dataset.train, range(1500)), test=Subset(dataset.test, range(0)))
    until(1100)
    with pytest.raises(KeyboardInterrupt):
        data.prepared.write(tmp_path / "out", few, lambda count: None)
    with pytest.raises(UsageError, match="has not finished: run it again"):
        data.load(section(name="prepared", path=str(tmp_path / "out")))
    read.clear()
    until(10_000)
    with (tmp_path / "out" / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UsageError, match="another process is writing"):
            data.prepared.write(tmp_path / "out", few, lambda count: None)
    progress = tmp_path / "out" / "progress.json"
    before = progress.read_text()
    for damage in ("{", "[]", before.replace("1024", "99999"), before.replace("1024", '"x"')):
        progress.write_text(damage)
        with pytest.raises(UsageError, match="are damaged"):
            data.prepared.write(tmp_path / "out", few, lambda count: None)
    progress.write_text(before)
    read.clear()
    done = []
    data.prepared.write(tmp_path / "out", few, done.append)
    assert {index for index in read if index >= 1024} == set(range(1024, 1500))
    assert len(read) == 476 + 64  # the remaining images and the fingerprint
    assert done == [1024, 476, 0]
    made = data.load(section(name="prepared", path=str(tmp_path / "out")))
    np.testing.assert_array_equal(stack(made.train)["image"], stack(few.train)["image"])
    assert len(made.test) == 0


def test_absurd_sizes_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match=r"image_size is 100000; it must be from 0 to 8192"):
        data.load(section(name="photos", image_size=100_000))
    with pytest.raises(UsageError, match=r"length is -1"):
        data.load(section(name="mixture", length=-1))
    path = tmp_path / "bomb.npz"
    np.savez_compressed(path, image=np.zeros((4096, 64, 64, 3), np.uint8))
    assert path.stat().st_size < 2**18
    monkeypatch.setattr("os.sysconf", lambda name: 2**12)  # a machine with 16 MiB of memory
    with pytest.raises(UsageError, match=r"unpacks to 0.0 GiB, but this machine has 0.0 GiB.*plain .npy file"):
        data.load(section(name="npz", path=str(path)))


def test_reading_a_file_cannot_run_code(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    for name in ("x.npz", "x.npy"):
        path = tmp_path / name
        if name == "x.npz":
            np.savez(path, image=np.array([Evil()], dtype=object))
        else:
            np.save(path, np.array([Evil()], dtype=object), allow_pickle=True)
        with pytest.raises(UsageError, match=r"cannot be read as an .np[yz] file of"):
            data.load(section(name="npz", path=str(path)))
        assert not (tmp_path / "ran").exists()


def test_mixed_channels_are_read_in_color_with_a_warning(tmp_path, caplog):
    Image.new("L", (8, 8)).save(tmp_path / "0.png")
    Image.new("RGB", (8, 8), (200, 30, 30)).save(tmp_path / "1.png")
    Image.new("RGB", (8, 8), (90, 90, 90)).save(tmp_path / "2.png")
    options = base_config().data
    options.update(name="folder", path=str(tmp_path), test_fraction=0.0)
    assert data.load(options).shape == (8, 8, 3)
    assert "2 of 3 examined images are gray" in caplog.text
    options.channels = 1
    caplog.clear()
    assert data.load(options).shape == (8, 8, 1)
    assert not caplog.text


def test_gray_pictures_stored_in_color_are_read_in_gray(tmp_path, caplog):
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16), np.uint8)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / "0.jpg", quality=60)
    Image.fromarray(pixels).convert("P").save(tmp_path / "1.png")
    options = base_config().data
    options.update(name="folder", path=str(tmp_path), test_fraction=0.0)
    assert data.load(options).shape == (16, 16, 1)
    assert not caplog.text


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    Image.new("L", (8, 8)).save(tmp_path / "b.png")
    options = base_config().data
    options.update(name="folder", path=str(tmp_path), test_fraction=0.0)
    assert len(data.load(options).train) == 1


def test_empty_classes_give_a_warning(caplog):
    arrays = {"image": np.zeros((4, 8, 8, 1), np.uint8), "label": np.array([0, 1, 2, 1_000])}
    assert from_arrays(arrays).num_classes == 1_001
    assert "labels go up to 1000, so the model gets 1001 classes, but only 4 of them have examples" in caplog.text


def test_lines_that_are_too_long_are_reported_together(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("one two three\n" * 20 + "a b c d e f g h\n" + "x y z u v w\n")
    options = base_config().data
    options.update(name="text", path=str(path), vocab_size=100, length=5, test_fraction=0.0)
    with pytest.raises(UsageError, match=r"2 of the 22 lines .* more than 5 tokens.*line 21 is the longest, with 9"):
        data.load(options)
    options.length = 0
    dataset = data.load(options)
    assert dataset.shape == (9,)
    assert "a vocabulary of 21, 4 tokens per line (median with EOS), 9 at most" in dataset.about
