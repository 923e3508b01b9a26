"""Diffusion on poses: what a change of the pose does, SciPy's alignment, and a reverse process with the exact score."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bitdiff.diffusion import poses, so3, torus
from bitdiff.diffusion.poses import Move, Ranges, Tree

RANGES = Ranges((0.1, 19.0), (0.03, 1.55), (0.03, 3.14))
KEY = jax.random.key(0)

# A chain of six atoms with rotatable bonds 1-2 and 3-4, and two atoms of padding.
TREE = Tree(
    atoms=jnp.arange(8) < 6,
    bonds=jnp.array([[1, 2], [3, 4], [0, 0]]),
    moved=jnp.array([np.arange(8) > 2, np.arange(8) > 4, np.zeros(8, bool)]) & (jnp.arange(8) < 6),
    torsions=jnp.array([True, True, False]),
)
CHAIN = jnp.asarray(
    np.where(np.arange(8)[:, None] < 6, np.random.default_rng(0).normal(size=(8, 3)) * 2, 0), jnp.float32
)


def move(translation=(0, 0, 0), rotation=(0, 0, 0), torsion=(0, 0, 0)):
    return Move(*(jnp.array(part, jnp.float32) for part in (translation, rotation, torsion)))


def dihedral(x, a, b, c, d):
    first, axis, last = x[a] - x[b], x[c] - x[b], x[d] - x[c]
    axis = axis / np.linalg.norm(axis)
    first, last = first - (first @ axis) * axis, last - (last @ axis) * axis
    return np.arctan2(np.cross(axis, first) @ last, first @ last)


def test_no_change_keeps_the_positions():
    np.testing.assert_allclose(poses.apply(CHAIN, move(), TREE), CHAIN, atol=1e-5)


def test_a_rigid_change_rotates_about_the_center_and_translates():
    vector, shift = np.array([0.3, -0.8, 0.5]), np.array([1.0, 2.0, 3.0])
    x = np.asarray(CHAIN[:6], float)
    expected = Rotation.from_rotvec(vector).apply(x - x.mean(0)) + x.mean(0) + shift
    found = poses.apply(CHAIN, move(shift, vector), TREE)
    np.testing.assert_allclose(found[:6], expected, atol=1e-5)
    np.testing.assert_array_equal(found[6:], 0)


def test_changes_of_a_pose_use_full_precision_on_accelerators():
    jaxpr = str(jax.make_jaxpr(poses.apply)(CHAIN, move(rotation=(1, 0, 0), torsion=(1, 1, 0)), TREE))
    products = jaxpr.split("dot_general[")[1:]
    assert len(products) > 5
    for product in products:
        assert "HIGHEST" in product[: product.index("] ")]


def test_torsions_change_dihedral_angles_alone():
    x = np.asarray(poses.apply(CHAIN, move(torsion=(0.7, -1.1, 0.4)), TREE), float)
    before = np.asarray(CHAIN, float)
    for atoms, angle in (((0, 1, 2, 3), 0.7), ((2, 3, 4, 5), -1.1), ((1, 2, 3, 4), 0.0)):
        change = dihedral(x, *atoms) - dihedral(before, *atoms)
        assert (change - angle + np.pi) % (2 * np.pi) - np.pi == pytest.approx(0, abs=1e-4), atoms
    for i in range(5):  # bonds keep their length
        assert np.linalg.norm(x[i + 1] - x[i]) == pytest.approx(np.linalg.norm(before[i + 1] - before[i]), rel=1e-4)
    np.testing.assert_allclose(x[:6].mean(0), before[:6].mean(0), atol=1e-5)
    # The twisted ligand has the best orientation already.
    rotation, _ = Rotation.align_vectors(before[:6] - before[:6].mean(0), x[:6] - x[:6].mean(0))
    assert rotation.magnitude() < 1e-3


def test_the_score_is_the_gradient_of_the_log_density():
    sigma = poses.sigmas(jnp.array(0.6), RANGES)
    noise = poses.draw_noise(KEY, sigma, TREE)
    found = poses.score(noise, sigma, TREE)
    axis = noise.rotation / jnp.linalg.norm(noise.rotation)
    slope = jax.grad(lambda omega: so3.log_density(omega, sigma.rotation))(jnp.linalg.norm(noise.rotation))
    np.testing.assert_allclose(found.translation, -noise.translation / sigma.translation**2, rtol=1e-6)
    np.testing.assert_allclose(found.rotation, slope * axis, rtol=1e-4)
    np.testing.assert_allclose(found.torsion[:2], torus.score(noise.torsion, sigma.torsion)[:2], rtol=1e-6)
    assert noise.torsion[2] == found.torsion[2] == 0
    assert np.isfinite(poses.score(move(), sigma, TREE).rotation).all()


def test_norms_are_those_of_drawn_scores():
    sigma = poses.sigmas(jnp.array(0.5), RANGES)
    keys = jax.random.split(KEY, 10_000)
    scores = jax.vmap(lambda key: poses.score(poses.draw_noise(key, sigma, TREE), sigma, TREE))(keys)
    norm = poses.score_norm(sigma)
    # 10,000 draws estimate a root mean square to about 1%.
    assert np.sqrt(np.mean(scores.translation**2)) == pytest.approx(float(norm.translation), rel=0.03)
    assert np.sqrt(np.mean(np.sum(scores.rotation**2, axis=-1))) == pytest.approx(float(norm.rotation), rel=0.03)
    assert np.sqrt(np.mean(scores.torsion[:, :2] ** 2)) == pytest.approx(float(norm.torsion), rel=0.03)


def test_the_prior_is_uniform_on_rotations_and_torsions():
    drawn = jax.vmap(lambda key: poses.draw_prior(key, RANGES, TREE))(jax.random.split(KEY, 20_000))
    angles = np.linalg.norm(np.asarray(drawn.rotation, float), axis=1)
    omega = np.linspace(0, np.pi, 10_001)
    expected = np.trapezoid(omega * (1 - np.cos(omega)) / np.pi, omega)
    assert angles.mean() == pytest.approx(expected, abs=0.02)  # standard error 0.005
    matrices = np.asarray(so3.to_matrix(drawn.rotation))
    np.testing.assert_allclose(matrices.mean(0), 0, atol=0.02)  # standard error 0.004
    assert np.asarray(drawn.torsion[:, 0]).std() == pytest.approx(np.pi / np.sqrt(3), rel=0.02)
    assert np.asarray(drawn.translation).std() == pytest.approx(19, rel=0.02)


def to_vector(matrix):
    """The rotation vector of a matrix."""
    skew = jnp.array([matrix[2, 1] - matrix[1, 2], matrix[0, 2] - matrix[2, 0], matrix[1, 0] - matrix[0, 1]])
    length = jnp.linalg.norm(skew)
    return jnp.arctan2(length, jnp.trace(matrix) - 1) * skew / jnp.maximum(length, 1e-9)


MODES = (  # probability, and the pose
    (0.7, move((3, 0, -1), (0.2, 1.0, -0.5), (0.5, -2.0, 0))),
    (0.3, move((-4, 2, 1), (-1.5, 0.0, 2.0), (2.5, 1.0, 0))),
)


def exact_score(x, matrix, torsion, sigma):
    """The score of the noisy distribution whose clean poses are MODES."""
    logs, scores = [], []
    for probability, pose in MODES:
        vector = to_vector(matrix @ so3.to_matrix(pose.rotation).T)
        noise = Move(x - pose.translation, vector, torus.wrap(torsion - pose.torsion))
        logs.append(
            jnp.log(probability)
            - 0.5 * jnp.sum((noise.translation / sigma.translation) ** 2)
            + so3.log_density(jnp.linalg.norm(vector), sigma.rotation)
            + jnp.sum(jnp.where(TREE.torsions, torus.log_density(noise.torsion, sigma.torsion), 0))
        )
        scores.append(poses.score(noise, sigma, TREE))
    weights = jax.nn.softmax(jnp.stack(logs))
    return jax.tree.map(lambda *parts: sum(w * part for w, part in zip(weights, parts, strict=True)), *scores)


@pytest.mark.parametrize(("steps", "sampler"), [(100, "sde"), (200, "ode"), (40, "ancestral")])
def test_the_exact_score_leads_back_to_the_data(steps, sampler):
    def one(key):
        start_key, *keys = jax.random.split(key, steps + 1)
        start = poses.draw_prior(start_key, RANGES, TREE)

        def step(state, inputs):
            i, key = inputs
            x, matrix, torsion = state
            t = 1.0 - i / steps
            score = exact_score(x, matrix, torsion, poses.sigmas(t, RANGES))
            last = i == steps - 1
            change = poses.reverse_step(key, score, t, 1 / steps, RANGES, sampler=sampler, last=last)
            return (x + change.translation, so3.to_matrix(change.rotation) @ matrix, torsion + change.torsion), None

        first = (start.translation, so3.to_matrix(start.rotation), start.torsion)
        (x, matrix, torsion), _ = jax.lax.scan(step, first, (jnp.arange(steps), jnp.stack(keys)))
        errors = []
        for _, pose in MODES:
            angle = jnp.linalg.norm(to_vector(matrix @ so3.to_matrix(pose.rotation).T))
            twist = jnp.abs(torus.wrap(torsion - pose.torsion))[:2]
            errors.append(jnp.stack([jnp.linalg.norm(x - pose.translation), angle, twist.max()]))
        return jnp.stack(errors)

    count = 1_000
    errors = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(KEY, count)))
    nearest = errors[:, :, 0].argmin(axis=1)
    # 1,000 samples estimate the fraction 0.7 to 0.015; the largest steps of Euler's method add to that.
    assert (nearest == 0).mean() == pytest.approx(0.7, abs=0.07)
    closest = errors[np.arange(count), nearest]
    # The smallest sigmas are 0.1 A, 0.03 and 0.03.
    assert np.quantile(closest, 0.9, axis=0) == pytest.approx([0.3, 0.1, 0.1], abs=0.1)
