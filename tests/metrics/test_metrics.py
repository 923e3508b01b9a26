import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from bitdiff import data
from bitdiff.configs import digits, photos
from bitdiff.data.dataset import stack
from bitdiff.metrics import classifier, distributions, feature_scores, frechet, neighbours, pixels, sliced
from bitdiff.runtime.errors import UsageError


def test_frechet_distance_equals_the_matrix_square_root_formula():
    rng = np.random.RandomState(0)
    a = frechet.moments(rng.normal(size=(500, 20)) @ rng.normal(size=(20, 20)))
    b = frechet.moments(rng.normal(size=(400, 20)) @ rng.normal(size=(20, 20)) + 1)
    root = scipy.linalg.sqrtm(a.covariance @ b.covariance)
    expected = np.sum((a.mean - b.mean) ** 2) + np.trace(a.covariance + b.covariance - 2 * root.real)
    assert frechet.distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert frechet.distance(a, a) == pytest.approx(0, abs=1e-9)


def test_frechet_distance_of_known_gaussians():
    # N(0, 1) and N(3, 4) in one dimension: (0 - 3)^2 + (1 - 2)^2.
    a = frechet.Moments(np.zeros(1), np.eye(1), 2)
    b = frechet.Moments(np.full(1, 3.0), 4 * np.eye(1), 2)
    assert frechet.distance(a, b) == pytest.approx(10)
    # Fewer vectors than dimensions: the covariance is singular.
    rng = np.random.RandomState(0)
    a, b = (frechet.moments(rng.normal(size=(10, 30))) for _ in range(2))
    assert np.isfinite(frechet.distance(a, b))
    with pytest.raises(UsageError, match="at least two vectors"):
        frechet.moments(np.zeros((1, 3)))


def test_pixel_features_are_scaled_and_pooled():
    space = pixels.feature_space((8, 8, 1), 17)
    images = np.random.RandomState(0).randint(0, 17, (3, 8, 8, 1))
    np.testing.assert_allclose(space.features(images), images.reshape(3, 64) / 16, rtol=1e-6)
    odd = pixels.feature_space((101, 101, 3), 256)
    assert 300 < odd.features(np.zeros((1, 101, 101, 3), np.uint8)).shape[1] <= 1024
    large = pixels.feature_space((64, 64, 3), 256)
    assert large.about == "Frechet pixel (16 x 16)"
    image = np.zeros((1, 64, 64, 3), np.uint8)
    image[:, :4, :4, 1] = 255
    features = large.features(image)
    assert features.shape == (1, 768)
    np.testing.assert_array_equal(np.flatnonzero(features[0]), [1])
    assert features.max() == 1


def test_the_classifier_recognizes_real_digits():
    dataset = data.load(digits.get_config().data)
    features = pixels.feature_space(dataset.shape, dataset.vocab_size).features
    train, test = stack(dataset.train), stack(dataset.test)
    classify = classifier.fit(features(train["image"]), train["label"])
    assert np.mean(classify(features(test["image"])) == test["label"]) > 0.98


def test_nearest_neighbor_distances_equal_brute_force():
    rng = np.random.RandomState(0)
    real, samples = rng.normal(size=(700, 5)), rng.normal(size=(600, 5))
    samples[3] = real[650]
    expected = np.sqrt(((samples[:, None] - real) ** 2).sum(-1)).min(1)
    np.testing.assert_allclose(neighbours.distances(samples, real), expected, atol=1e-12)
    assert neighbours.distances(samples, real)[3] == 0


def test_total_variation_equals_its_definition():
    states = np.array([[0, 1], [1, 1], [2, 0]])
    samples = np.array([[0, 1], [0, 1], [1, 1], [5, 5]])
    # |.5 - .25| + |.25 - .25| + |0 - .5| + |.25 - 0| = 1
    assert distributions.tv(samples, states, np.array([0.25, 0.25, 0.5])) == pytest.approx(0.5)
    assert distributions.marginal_tv(np.array([[0, 0]]), np.array([[0, 1], [1, 1]]), 2) == pytest.approx(0.75)


def test_the_floor_is_the_expected_score_of_perfect_samples():
    rng = np.random.RandomState(0)
    probabilities = rng.dirichlet(np.full(100, 0.3))
    draws = 0.5 * np.abs(rng.multinomial(500, probabilities, 20_000) / 500 - probabilities).sum(1)
    # Four standard errors of 20,000 distances, each with a spread of 0.013.
    assert distributions.tv_floor(probabilities, 500) == pytest.approx(draws.mean(), abs=4e-4)
    assert distributions.tv_floor([1.0, 0.0], 7) == 0.0
    # The known approximation sqrt(K / (2 pi N)) for K equal probabilities.
    assert distributions.tv_floor(np.full(256, 1 / 256), 20_000) == pytest.approx(
        np.sqrt(256 / (2 * np.pi * 20_000)), rel=0.02
    )


def test_running_sums_give_the_same_moments():
    features = np.random.RandomState(0).normal(size=(100, 7)) + 5
    sums = None
    for part in np.split(features, [10, 11, 60]):
        sums = frechet.add(sums, part)
    running, direct = frechet.finish(sums), frechet.moments(features)
    np.testing.assert_allclose(running.mean, direct.mean, rtol=1e-12)
    np.testing.assert_allclose(running.covariance, direct.covariance, atol=1e-12)
    assert running.count == 100


def test_feature_scores_equal_torch_fidelitys():
    # The expected values are torch-fidelity 0.4.0's for these features.
    rng = np.random.RandomState(0)
    a = rng.normal(size=(400, 30)).astype(np.float32)
    b = (0.8 * rng.normal(size=(500, 30)) + 0.2).astype(np.float32)
    score = feature_scores.inception_score(2 * a)
    assert score == pytest.approx((3.5871370713433697, 0.19019695258346733), rel=1e-9)
    distance = feature_scores.kid(a, b, subsets=20, subset_size=100)
    assert distance == pytest.approx((0.1832937479019165, 0.030327171203867097), rel=1e-4)
    assert feature_scores.precision_recall(a, b) == pytest.approx((0.175, 0.96))
    assert frechet.distance(frechet.moments(a), frechet.moments(b)) == pytest.approx(3.508439821842323, rel=1e-6)


def test_feature_scores_need_enough_images():
    few = np.zeros((3, 4))
    with pytest.raises(UsageError, match="too few for 10 Inception Score splits"):
        feature_scores.inception_score(few)
    with pytest.raises(UsageError, match="too few for KID"):
        feature_scores.kid(few, few)
    with pytest.raises(UsageError, match="need more than 3"):
        feature_scores.precision_recall(few, few)


def test_sliced_wasserstein_distance_of_noise_equals_scipys():
    # White noise with one channel, and no blur below 16 pixels: the coarsest level is Gaussian, so the effect of
    # shifting and widening all pixels is known along every projection.
    rng = np.random.default_rng(0)
    real = 9 * rng.normal(size=(2000, 8, 8, 1))
    samples = 13.5 * rng.normal(size=(2000, 8, 8, 1))
    draws = rng.normal(size=(2, 20_000))
    expected = scipy.stats.wasserstein_distance(draws[0], 1.5 * draws[1])
    # 32 patches are drawn from the 4 of each image: 8,000 distinct ones, so a standard deviation of about 0.01.
    assert sliced.distances(samples, real)[8] == pytest.approx(expected, abs=0.02)
    assert sliced.distances(real, real) == {8: pytest.approx(0.02, abs=0.02)}


def test_sliced_wasserstein_distance_detects_differences_at_their_own_scale():
    images = stack(data.load(photos.get_config().data).train, 2000)["image"]
    half = sliced.distances(images[::2], images[1::2])
    rng = np.random.default_rng(0)
    noisy = sliced.distances(np.clip(images[::2] + rng.normal(0, 8, images[::2].shape), 0, 255), images[1::2])
    redder = sliced.distances(np.clip(images[::2] + np.array([30.0, 0, 0]), 0, 255), images[1::2])
    assert noisy[16] > 5 * half[16]
    assert noisy[8] < 3 * half[8]
    assert redder[8] > 5 * half[8]
    assert redder[16] < 3 * half[16]


def test_sliced_wasserstein_distance_of_flat_images_is_in_gray_levels():
    real = np.full((50, 20, 17, 3), 100, np.uint8)  # and not square
    assert sliced.distances(real, real) == {17: 0.0, 9: 0.0}
    assert max(sliced.distances(real + np.uint8(1), real).values()) < 8
