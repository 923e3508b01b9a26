"""Tests of IDX files, written here in the format of MNIST's."""

import gzip

import numpy as np
import pytest
from PIL import Image

from bitdiff import data
from bitdiff.configuration import base_config
from bitdiff.data.resizing import to_pixels
from bitdiff.runtime.errors import UsageError


def section(path, **fields):
    options = base_config().data
    options.update(name="idx", path=str(path), **fields)
    return options


def write_idx(path, array):
    """Writes unsigned bytes as LeCun's page on MNIST describes: magic number, big-endian sizes, values."""
    header = bytes([0, 0, 8, array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    contents = header + array.tobytes()
    path.write_bytes(gzip.compress(contents) if path.suffix == ".gz" else contents)


def write_split(folder, name, count, *, size=28, suffix="", seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, size, size), np.uint8)
    labels = (np.arange(count) % 10).astype(np.uint8)
    write_idx(folder / f"{name}-images-idx3-ubyte{suffix}", images)
    write_idx(folder / f"{name}-labels-idx1-ubyte{suffix}", labels)
    return images, labels


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_both_splits_are_read(tmp_path, suffix):
    images, labels = write_split(tmp_path, "train", 20, suffix=suffix)
    tests, _ = write_split(tmp_path, "t10k", 10, suffix=suffix, seed=1)
    dataset = data.load(section(tmp_path))
    train, test = data.dataset.stack(dataset.train), data.dataset.stack(dataset.test)
    np.testing.assert_array_equal(train["image"][..., 0], images)
    np.testing.assert_array_equal(train["label"], labels)
    np.testing.assert_array_equal(test["image"][..., 0], tests)
    assert (dataset.shape, dataset.vocab_size, dataset.num_classes) == ((28, 28, 1), 256, 10)
    assert dataset.label_frequencies == (0.1,) * 10


def test_names_may_be_spelled_with_dots(tmp_path):
    for name in ("train", "t10k"):
        images, labels = write_split(tmp_path, name, 3)
        for path in list(tmp_path.glob(f"{name}-*-idx*")):
            path.rename(tmp_path / path.name.replace("-idx", ".idx"))
    found = data.dataset.stack(data.load(section(tmp_path)).test)
    np.testing.assert_array_equal(found["image"][..., 0], images)
    np.testing.assert_array_equal(found["label"], labels)


def test_classes_labeled_from_1_keep_their_names(tmp_path):
    for name in ("train", "t10k"):
        _, labels = write_split(tmp_path, name, 20)
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", labels + 1)
    dataset = data.load(section(tmp_path))
    np.testing.assert_array_equal(data.dataset.stack(dataset.train)["label"], labels)
    assert dataset.num_classes == 10
    assert dataset.class_names == tuple(map(str, range(1, 11)))


def test_images_are_halved_by_averaging_and_padded_with_black(tmp_path):
    images, _ = write_split(tmp_path, "train", 3)
    write_split(tmp_path, "t10k", 3)
    small = data.load(section(tmp_path, image_size=14, resize="box")).train[1]["image"][..., 0]
    means = images[1].reshape(14, 2, 14, 2).mean((1, 3))
    assert np.abs(small - means).max() <= 1  # Pillow averages columns, then rows, and rounds both times
    padded = data.load(section(tmp_path, image_size=32, resize="pad")).train[1]["image"][..., 0]
    np.testing.assert_array_equal(padded[2:30, 2:30], images[1])
    assert padded.astype(int).sum() == images[1].astype(int).sum()


def test_padding_applies_to_color_images_of_any_shape():
    image = Image.new("RGB", (4, 2), (1, 2, 3))
    pixels = to_pixels(image, 6, 3, "pad")
    assert (pixels[2:4, 1:5] == (1, 2, 3)).all()
    assert pixels.astype(int).sum() == 6 * 8


def test_emnist_is_transposed_and_its_splits_are_chosen_by_name(tmp_path):
    images, _ = write_split(tmp_path, "emnist-digits-train", 4)
    for name in ("emnist-digits-test", "emnist-letters-train", "emnist-letters-test"):
        write_split(tmp_path, name, 4)
    with pytest.raises(
        UsageError, match=r"matches 2 splits .* emnist-digits-test, emnist-digits-train, emnist-letters-te"
    ):
        data.load(section(tmp_path))
    chosen = section(tmp_path, train_split="emnist-digits-train", test_split="emnist-digits-test")
    np.testing.assert_array_equal(data.load(chosen).train[0]["image"][..., 0], images[0].T)


def test_bad_files_are_reported(tmp_path):
    def message(**fields):
        with pytest.raises(UsageError) as error:
            data.load(section(tmp_path, **fields))
        return str(error.value)

    assert "holds no IDX files" in message()
    write_split(tmp_path, "train", 4)
    assert "matches 0 splits" in message()
    write_split(tmp_path, "t10k", 4)
    assert "set config.data.resize" in message(image_size=14)
    assert "cannot be padded to 20 x 20" in message(image_size=20, resize="pad")
    assert "have 1 (gray)" in message(channels=3)

    path = tmp_path / "train-images-idx3-ubyte"
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    assert "3136 bytes, but holds 3135" in message()
    path.write_bytes(whole + b"0")
    assert "but holds more" in message()
    path.write_bytes(b"\x00\x00\x08\x01" + whole[4:])
    assert "starts with the number 0x00000801" in message()
    path.write_bytes(b"\x00\x00\x08\x03" + b"\xff" * 12)
    assert "at most 2^31" in message()
    path.write_bytes(b"")
    assert "IDX file" in message()
    path.write_bytes(whole)
    write_idx(tmp_path / "train-labels-idx1-ubyte", np.zeros(3, np.uint8))
    assert "holds 4 images and train-labels-idx1-ubyte 3 labels" in message()
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    assert "has no labels beside it" in message()
    compressed = tmp_path / "train-labels-idx1-ubyte.gz"
    compressed.write_bytes(gzip.compress(whole)[:-40])
    assert "train-labels-idx1-ubyte.gz cannot be read as an IDX file" in message()
