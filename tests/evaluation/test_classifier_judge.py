"""Tests of the classifier that judges generated images, on scikit-learn's digits."""

import numpy as np
import pytest

from bitdiff import data
from bitdiff.configuration import load_config
from bitdiff.data.dataset import stack
from bitdiff.evaluation.classifier_judge import open_judge, train_judge
from bitdiff.inference import trained
from bitdiff.metrics import image_classifier
from bitdiff.runtime.errors import UsageError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def digits():
    return data.load(load_config("digits").data)


@pytest.fixture(scope="module")
def classifier(digits):
    return train_judge(digits, epochs=4, seed=0)


@pytest.fixture(scope="module")
def judge(classifier, tmp_path_factory):
    path = tmp_path_factory.mktemp("judge") / "judge.npz"
    image_classifier.save(path, classifier)
    return open_judge(trained.load("digits"), path)


def test_it_recognizes_real_images(classifier):
    assert classifier.about["test_accuracy"] > 0.9  # a support vector classifier reaches 99%


def test_a_saved_classifier_is_the_same(classifier, digits, tmp_path):
    image_classifier.save(tmp_path / "judge.npz", classifier)
    loaded = image_classifier.load(tmp_path / "judge.npz")
    assert (loaded.sha256, loaded.about, loaded.shape) == (classifier.sha256, classifier.about, classifier.shape)
    images = stack(digits.test)["image"]
    for one, other in zip(
        image_classifier.apply(loaded, images), image_classifier.apply(classifier, images), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_it_prefers_real_images_to_damaged_ones(judge, digits):
    real = stack(digits.test)
    noise = np.random.default_rng(0).integers(0, 17, real["image"].shape, dtype=np.uint8)
    blank = {"image": np.zeros_like(real["image"]), "label": real["label"]}
    half = {"image": np.where(np.arange(8)[:, None, None] < 4, real["image"], noise), "label": real["label"]}

    def scores(outputs):
        return {name: score.value for name, score in judge.scores(outputs, digits).items()}

    found, damaged, empty = scores(real), scores(half), scores(blank)
    for name in ("frechet", "precision", "recall", "accuracy"):
        assert found[f"judge_{name}"] == found[f"judge_{name}_real"] == damaged[f"judge_{name}_real"]
    assert found["judge_accuracy"] > 0.9 > damaged["judge_accuracy"] > 0.2
    assert found["judge_frechet"] < 0.2 * damaged["judge_frechet"] < 0.2 * empty["judge_frechet"]
    assert found["judge_precision"] > 0.8 > damaged["judge_precision"]
    assert found["judge_recall"] > 0.8 > empty["judge_recall"] == 0


def test_samples_are_compared_in_sets_as_large_as_the_test_set(judge, digits):
    real = stack(digits.test)
    noise = np.random.default_rng(0).integers(0, 17, real["image"].shape, dtype=np.uint8)
    one, two = ({"image": images, "label": real["label"]} for images in (real["image"], noise))
    both = {name: np.concatenate([one[name], two[name]]) for name in one}
    apart = [judge.scores(outputs, digits) for outputs in (one, two)]
    found = judge.scores(both, digits)
    mean = np.mean([scores["judge_frechet"].value for scores in apart])
    assert found["judge_frechet"].value == pytest.approx(mean, rel=1e-3)
    assert "mean over 2 sets of samples" in found["judge_frechet"].about
    for name in ("judge_precision", "judge_recall", "judge_frechet_real"):
        assert found[name].value == apart[0][name].value


def test_a_judge_of_other_images_is_reported(judge, digits, caplog):
    judge.scores(stack(digits.test), digits)
    assert not caplog.records
    judge.scores(stack(digits.test), digits._replace(about="letters"))
    assert "the judge was trained on scikit-learn digits" in caplog.text
    assert "the samples are compared with letters" in caplog.text


def test_the_classifier_is_named_in_every_score(judge, classifier, digits):
    scores = judge.scores(stack(digits.test), digits)
    assert all(classifier.sha256[:8] in score.about for score in scores.values())
    assert judge.provenance["sha256"] == classifier.sha256


def test_bad_files_and_other_images_are_reported(classifier, digits, tmp_path):
    path = tmp_path / "judge.npz"
    np.savez(path, x=np.zeros(3))
    with pytest.raises(UsageError, match=r"was not written by bitdiff.train_judge"):
        image_classifier.load(path)
    image_classifier.save(path, classifier._replace(sha256="0" * 64))
    with pytest.raises(UsageError, match="is damaged"):
        image_classifier.load(path)
    image_classifier.save(path, classifier._replace(shape=(16, 16, 1)))
    with pytest.raises(UsageError, match=r"judges images of \[16, 16, 1\]"):
        open_judge(trained.load("digits"), path)
    with pytest.raises(UsageError, match="labeled 8-bit images"):
        train_judge(data.load(load_config("mixture").data), epochs=1, seed=0)
    with pytest.raises(UsageError, match="the data have none"):
        train_judge(digits._replace(test=data.dataset.Subset(digits.test, [])), epochs=1, seed=0)
