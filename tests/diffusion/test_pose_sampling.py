"""Tests of sampling poses: with the exact score of two poses of a rigid ligand, samples return to them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.diffusion import pose_sampling, poses, so3, torus
from bitdiff.diffusion.poses import Move, Ranges, Tree

RANGES = Ranges((0.1, 19.0), (0.03, 1.55), (0.03, 3.14))
SHAPE = jnp.array([[0.0, 0, 0], [1.5, 0, 0], [1.5, 1.4, 0], [0, 0, 1.3], [0, 0, 0]])
SHAPE -= SHAPE[:4].mean(0)
TREE = Tree(jnp.array([1, 1, 1, 1, 0], bool), jnp.zeros((0, 2), int), jnp.zeros((0, 5), bool), jnp.zeros(0, bool))
PROBABILITIES = (0.7, 0.3)
POSES = (
    SHAPE @ so3.to_matrix(jnp.array([0.2, 1.0, -0.5])).T + jnp.array([3.0, 0, -1]),
    SHAPE @ so3.to_matrix(jnp.array([-1.5, 0.0, 2.0])).T + jnp.array([-4.0, 2, 1]),
)


def rotation_between(x, aim):
    """The rotation vector that takes the centered atoms x to the centered aim."""
    u, _, v = jnp.linalg.svd(x[:4].T @ aim[:4])
    matrix = (u * jnp.array([1.0, 1.0, jnp.sign(jnp.linalg.det(u @ v))]) @ v).T
    skew = jnp.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    length = jnp.linalg.norm(skew)
    return jnp.arctan2(length, jnp.trace(matrix) - 1) * skew / jnp.maximum(length, 1e-9)


def exact_score(x, t):
    """The score of the noisy distribution whose clean poses are POSES."""
    sigma, logs, scores = poses.sigmas(t, RANGES), [], []
    middle = poses.center(x, TREE.atoms)
    for probability, pose in zip(PROBABILITIES, POSES, strict=True):
        aim = poses.center(pose, TREE.atoms)
        noise = Move(middle - aim, rotation_between(pose - aim, x - middle), jnp.zeros(0))
        logs.append(
            jnp.log(probability)
            - 0.5 * jnp.sum((noise.translation / sigma.translation) ** 2)
            + so3.log_density(jnp.linalg.norm(noise.rotation), sigma.rotation)
        )
        scores.append(poses.score(noise, sigma, TREE))
    weights = jax.nn.softmax(jnp.stack(logs))
    return jax.tree.map(lambda *parts: sum(w * part for w, part in zip(weights, parts, strict=True)), *scores)


@pytest.mark.parametrize(("steps", "sampler"), [(100, "sde"), (200, "ode"), (40, "ancestral")])
def test_the_exact_score_leads_to_the_true_poses(steps, sampler):
    def one(key):
        return pose_sampling.follow(exact_score, key, SHAPE + 5.0, TREE, RANGES, steps=steps, sampler=sampler)

    count = 1_000
    x, path = map(np.asarray, jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), count)))
    assert path.shape == (count, steps, 5, 3)
    # The prior is around the origin, with the largest sigma, whatever the conformer's position.
    assert path[:, 0, :4].mean(axis=1).std() == pytest.approx(19, rel=0.05)
    errors = np.stack([np.sqrt(np.mean(np.sum((x - pose)[:, :4] ** 2, axis=-1), axis=-1)) for pose in POSES])
    # 1,000 samples estimate the fraction 0.7 to 0.015; the largest steps of Euler's method add to that.
    assert (errors.argmin(axis=0) == 0).mean() == pytest.approx(0.7, abs=0.07)
    assert np.quantile(errors.min(axis=0), 0.9) < 0.5  # the smallest sigmas are 0.1 A and 0.03
    np.testing.assert_array_equal(x[:, 4], 0)  # padding


@pytest.mark.parametrize(
    ("sampler", "temperature", "reaches"),
    [("ancestral", 1.0, True), ("ancestral", 0.3, True), ("ode", 1.0, True), ("ode", 0.3, True), ("sde", 1.0, False)],
)
def test_with_five_steps_only_the_reverse_sde_overshoots(sampler, temperature, reaches):
    # Euler's step of the reverse SDE multiplies the distance from the true pose by 1 - 2 ln(190) / 5 = -1.1.
    def one(key):
        options = {"steps": 5, "sampler": sampler, "temperature": temperature}
        return pose_sampling.follow(exact_score, key, SHAPE, TREE, RANGES, **options)[0]

    x = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 300)))
    centers = [np.linalg.norm(x[:, :4].mean(1) - np.asarray(pose[:4]).mean(0), axis=-1) for pose in POSES]
    assert (np.min(centers, axis=0) < 1).mean() == pytest.approx(1.0 if reaches else 0.0, abs=0.1)
    if sampler == "ancestral":  # a deterministic step leaves part of the noise
        errors = [np.sqrt(np.mean(np.sum((x - pose)[:, :4] ** 2, axis=-1), axis=-1)) for pose in POSES]
        assert np.quantile(np.min(errors, axis=0), 0.9) < 0.5


def test_a_low_temperature_narrows_rotations_but_not_the_fractions_of_pockets():
    """The exact score of two pockets and one orientation, blurred by an isotropic Gaussian on SO(3)."""
    blur, probabilities, aims = 0.5, jnp.array(PROBABILITIES), jnp.array([[6.0, 0, 0], [-6.0, 0, 0]])

    def score(x, t):
        sigma = poses.sigmas(t, RANGES)
        sigma = sigma._replace(rotation=jnp.sqrt(sigma.rotation**2 + blur**2))
        shift = poses.center(x, TREE.atoms) - aims
        weights = jax.nn.softmax(jnp.log(probabilities) - 0.5 * jnp.sum((shift / sigma.translation) ** 2, axis=-1))
        noise = Move(weights @ shift, rotation_between(SHAPE, x - poses.center(x, TREE.atoms)), jnp.zeros(0))
        return poses.score(noise, sigma, TREE)

    def one(key, temperature):
        options = {"steps": 100, "sampler": "ancestral", "temperature": temperature}
        x = pose_sampling.follow(score, key, SHAPE, TREE, RANGES, **options)[0]
        middle = poses.center(x, TREE.atoms)
        return jnp.linalg.norm(rotation_between(SHAPE, x - middle)), middle[0] > 0

    keys = jax.random.split(jax.random.key(2), 1_000)
    angles, strong, run = {}, {}, jax.jit(jax.vmap(one, (0, None)))
    for temperature in (1.0, 0.5):
        found = run(keys, temperature)
        angles[temperature], strong[temperature] = np.asarray(found[0]), np.asarray(found[1])
    # For small eps, each component of the rotation vector has variance 2 eps^2; the smallest sigma adds very little.
    assert np.mean(angles[1.0] ** 2) == pytest.approx(6 * blur**2, rel=0.15)
    assert np.mean(angles[0.5] ** 2) < 0.7 * np.mean(angles[1.0] ** 2)
    for fraction in strong.values():
        assert fraction.mean() == pytest.approx(0.7, abs=0.07)


def test_a_ligand_with_a_torsion_returns_to_its_pose():
    """The exact score of one pose of a flexible ligand, whose samples go through alignment in every step."""
    chain = jnp.array([[-1.5, 0.5, 1.0], [-0.7, 0, 0], [0.7, 0, 0], [1.4, 1.2, 0], [2.8, 1.0, 0.7]])
    moved = jnp.array([[False, False, False, True, True]])
    tree = Tree(jnp.ones(5, bool), jnp.array([[1, 2]]), moved, jnp.ones(1, bool))
    aim = chain @ so3.to_matrix(jnp.array([0.2, 1.0, -0.5])).T + jnp.array([3.0, 0, -1])

    def torsion(x):
        axis = (x[2] - x[1]) / jnp.linalg.norm(x[2] - x[1])
        first, last = (part - (part @ axis) * axis for part in (x[0] - x[1], x[3] - x[2]))
        return jnp.arctan2(jnp.cross(first, last) @ axis, first @ last)

    def score(x, t):
        turn = torus.wrap(torsion(x) - torsion(aim))[None]
        twisted = poses.apply(aim, Move(jnp.zeros(3), jnp.zeros(3), turn), tree)
        middle, center = poses.center(x, tree.atoms), poses.center(twisted, tree.atoms)
        noise = Move(middle - center, rotation_between(twisted - center, x - middle), turn)
        return poses.score(noise, poses.sigmas(t, RANGES), tree)

    def one(key):
        return pose_sampling.follow(score, key, chain, tree, RANGES, steps=60, sampler="ancestral")[0]

    x = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 200)))
    errors = np.sqrt(np.mean(np.sum((x - np.asarray(aim)) ** 2, axis=-1), axis=-1))
    assert np.quantile(errors, 0.95) < 0.5  # the smallest sigmas are 0.1 A, 0.03 and 0.03
    lengths = np.linalg.norm(np.diff(x, axis=1), axis=-1)
    np.testing.assert_allclose(lengths, np.linalg.norm(np.diff(chain, axis=0), axis=-1)[None].repeat(200, 0), rtol=1e-3)
