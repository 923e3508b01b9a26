"""The stream of training batches: complete epochs for any number of processes and any resume point."""

import numpy as np
import pytest

from bitdiff import data
from bitdiff.configuration import base_config
from bitdiff.data.dataset import Arrays


def stream(count=10, **options):
    source = Arrays({"image": np.arange(count * 4, dtype=np.uint8).reshape(count, 1, 4, 1), "label": np.arange(count)})
    return data.batches(source, **{"batch_size": 4, "seed": 0} | options)


def labels(iterator, count):
    return [next(iterator)["label"].tolist() for _ in range(count)]


def test_every_epoch_contains_every_example_once_in_a_new_order():
    seen = np.concatenate(labels(stream(), 5)).reshape(2, 10)
    assert sorted(seen[0]) == sorted(seen[1]) == list(range(10))
    assert seen[0].tolist() != seen[1].tolist()
    assert labels(stream(seed=1), 2) != labels(stream(), 2)


def test_a_batch_may_be_larger_than_an_epoch():
    seen = np.concatenate(labels(stream(3, batch_size=8), 3)).reshape(8, 3)
    assert (np.sort(seen) == np.arange(3)).all()


def test_a_memory_mapped_file_gives_the_same_batches_as_an_array(tmp_path):
    pictures = np.random.RandomState(0).randint(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    np.save(tmp_path / "x.npy", pictures)
    section = base_config().data
    section.update(name="npz", path=str(tmp_path / "x.npy"), test_fraction=0.0)
    mapped = data.load(section).train
    options = {"batch_size": 5, "seed": 0, "flip": True, "crop": 0.5}
    one_by_one = type("Source", (), {"__len__": lambda _: 12, "__getitem__": lambda _, i: {"image": pictures[i]}})()
    for source in (mapped, one_by_one):
        stream, expected = data.batches(source, **options), data.batches(Arrays({"image": pictures}), **options)
        for _ in range(6):
            np.testing.assert_array_equal(next(stream)["image"], next(expected)["image"])


def test_batches_are_copies_of_the_data():
    source = Arrays({"image": np.arange(40, dtype=np.uint8).reshape(10, 1, 4, 1)})
    for _, batch in zip(range(5), data.batches(source, batch_size=4, seed=0, flip=True), strict=False):
        batch["image"][:] = 0
    np.testing.assert_array_equal(source[9]["image"].ravel(), [36, 37, 38, 39])


@pytest.mark.parametrize("prefetch", [0, 3])
def test_the_stream_resumes_where_it_stopped(prefetch):
    iterator = stream(prefetch_batches=prefetch, flip=True)
    for _ in range(3):
        next(iterator)
    state = iterator.get_state()
    expected = [next(iterator) for _ in range(4)]
    resumed = stream(prefetch_batches=prefetch, flip=True)
    resumed.set_state(state)
    for batch in expected:
        other = next(resumed)
        np.testing.assert_array_equal(batch["label"], other["label"])
        np.testing.assert_array_equal(batch["image"], other["image"])


def test_processes_split_each_batch_without_overlap_or_loss():
    whole = [next(it) for it in [stream(flip=True)] for _ in range(5)]
    parts = [stream(flip=True, process=(i, 2)) for i in range(2)]
    for batch in whole:
        halves = [next(part) for part in parts]
        for name in batch:
            np.testing.assert_array_equal(np.concatenate([half[name] for half in halves]), batch[name])


def test_flips_mirror_about_half_of_the_images():
    images = np.concatenate([next(it)["image"] for it in [stream(flip=True)] for _ in range(250)])
    mirrored = images[:, 0, 0, 0] > images[:, 0, -1, 0]
    assert np.mean(mirrored) == pytest.approx(0.5, abs=0.06)  # four standard errors of 1,000 coin flips
    assert (np.abs(np.diff(images[:, 0, :, 0].astype(int), axis=1)) == 1).all()
