"""Diffusion of the pose of a ligand: its translation, rotation and torsion angles (DiffDock, Corso et al. 2023).

Every function takes one example; map them over a batch with jax.vmap. Positions are in angstroms, angles in radians.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bitdiff.diffusion import so3, torus

SAMPLERS = ("sde", "ode", "ancestral")


class Ranges(NamedTuple):
    """The smallest and the largest sigma of each part of the pose.

    translation: in angstroms.
    rotation: the eps of `so3`.
    torsion: in radians.
    """

    translation: tuple[float, float]
    rotation: tuple[float, float]
    torsion: tuple[float, float]


class Tree(NamedTuple):
    """The atoms and the rotatable bonds of a ligand, padded.

    atoms: bool [A], the atoms that exist.
    bonds: int32 [T, 2], the atoms i and j of each rotatable bond; rotations are about the axis from i to j.
    moved: bool [T, A], the atoms that each rotation moves, on the side of j.
    torsions: bool [T], the rotatable bonds that exist.
    """

    atoms: jax.Array
    bonds: jax.Array
    moved: jax.Array
    torsions: jax.Array


class Move(NamedTuple):
    """A change of a pose; or, for each of its parts, the score, the score's root mean square, or sigma.

    The last two are scalars.

    translation: float [3].
    rotation: float [3], a rotation vector, about the center of the atoms.
    torsion: float [T], zero where there is no rotatable bond.
    """

    translation: jax.Array
    rotation: jax.Array
    torsion: jax.Array


def sigmas(t: jax.Array, ranges: Ranges) -> Move:
    """sigma_min^(1 - t) sigma_max^t of each part; t in [0, 1]."""
    return Move(*(low ** (1.0 - t) * high**t for low, high in ranges))


def apply(x: jax.Array, move: Move, tree: Tree) -> jax.Array:
    """The positions [A, 3] after a change of the pose [A, 3].

    The torsions come first. Their effect is aligned to the previous positions, so that they change neither the center
    nor, to first order, the orientation. Then the ligand is rotated about its center, and translated.
    """
    with jax.default_matmul_precision("highest"):  # else, accelerators use bfloat16 or TF32, and bond lengths drift
        twisted = _align(_twist(x, move.torsion, tree), x, tree.atoms) if len(move.torsion) else x
        middle = center(twisted, tree.atoms)
        turned = (twisted - middle) @ so3.to_matrix(move.rotation).T + middle
    return jnp.where(tree.atoms[:, None], turned + move.translation, 0.0)


def center(x: jax.Array, atoms: jax.Array) -> jax.Array:
    """The mean position [3] of the atoms that exist."""
    return jnp.sum(jnp.where(atoms[:, None], x, 0.0), axis=0) / jnp.maximum(jnp.sum(atoms), 1)


def draw_noise(key: jax.Array, sigma: Move, tree: Tree) -> Move:
    """A random change of the pose with the given sigmas."""
    keys = jax.random.split(key, 3)
    torsion = torus.wrap(sigma.torsion * jax.random.normal(keys[2], tree.torsions.shape))
    return Move(
        sigma.translation * jax.random.normal(keys[0], (3,)),
        so3.draw(keys[1], sigma.rotation),
        jnp.where(tree.torsions, torsion, 0.0),
    )


def draw_prior(key: jax.Array, ranges: Ranges, tree: Tree) -> Move:
    """The change of a pose at t = 1: a normal translation, and uniform rotations and torsions."""
    keys = jax.random.split(key, 3)
    quaternion = jax.random.normal(keys[1], (4,))
    quaternion /= jnp.linalg.norm(quaternion)
    angle = 2.0 * jnp.arccos(jnp.clip(jnp.abs(quaternion[0]), 0.0, 1.0))
    axis = quaternion[1:] * jnp.sign(quaternion[0])
    torsion = jax.random.uniform(keys[2], tree.torsions.shape, minval=-jnp.pi, maxval=jnp.pi)
    return Move(
        ranges.translation[1] * jax.random.normal(keys[0], (3,)),
        angle * axis / jnp.maximum(jnp.linalg.norm(axis), 1e-12),
        jnp.where(tree.torsions, torsion, 0.0),
    )


def score(noise: Move, sigma: Move, tree: Tree) -> Move:
    """The score of the distribution of `draw_noise` at a change of the pose."""
    angle = jnp.linalg.norm(noise.rotation)
    axis = noise.rotation / jnp.maximum(angle, 1e-12)
    return Move(
        -noise.translation / sigma.translation**2,
        so3.score(angle, sigma.rotation) * axis,
        jnp.where(tree.torsions, torus.score(noise.torsion, sigma.torsion), 0.0),
    )


def score_norm(sigma: Move) -> Move:
    """The root mean square of each part of the score; of a single component for the translation and the torsions."""
    return Move(1.0 / sigma.translation, so3.score_norm(sigma.rotation), torus.score_norm(sigma.torsion))


def reverse_step(
    key: jax.Array,
    score: Move,
    t: jax.Array,
    dt: jax.Array | float,
    ranges: Ranges,
    *,
    sampler: str,
    temperature: float = 1.0,
    last: Any = False,
) -> Move:
    """The change of the pose over a step from t to t - dt of the reverse process.

    'sde' and 'ode' are Euler steps of the reverse SDE, g^2 score dt + g sqrt(dt) z, and of the probability flow ODE,
    0.5 g^2 score dt. 'ancestral' is (sigma_t^2 - sigma_s^2) score + sigma_s / sigma_t sqrt(sigma_t^2 - sigma_s^2) z
    with s = t - dt. For the translation, this is the exact reverse transition if the data are a single pose, so that
    few steps suffice.

    g^2 is the derivative of the variance, 2 sigma^2 ln(sigma_max / sigma_min). For rotations, whose variance is
    2 eps^2, all variances are doubled.

    For the rotation and the torsion angles, the factor of the score is divided by the temperature. Below 1, samples
    concentrate near modes (a simple form of low-temperature sampling, Ingraham et al. 2023), and the factor is limited
    to the variance at t, for which a step ends at the estimate of the clean pose. The translation is sampled as at
    temperature 1, so that the fractions of samples in separate pockets stay nearly the same.

    Args:
      key: the key of the noise z.
      score: the score at t.
      t: the time before the step, in (0, 1].
      dt: the length of the step.
      ranges: the ranges of the sigmas.
      sampler: one of SAMPLERS.
      temperature: above 0; 1 leaves the scores as they are.
      last: whether this is the last step, which adds no noise; bool or bool [].
    """
    parts = []
    now, then, keys = sigmas(t, ranges), sigmas(t - dt, ranges), jax.random.split(key, 3)
    temperatures = (1.0, temperature, temperature)
    for part, sigma, later, (low, high), variance, cold, part_key in zip(
        score, now, then, ranges, (1.0, 2.0, 1.0), temperatures, keys, strict=True
    ):
        if sampler == "ancestral":
            removed = variance * (sigma**2 - later**2)
            drift, noise = removed, jnp.sqrt(removed) * later / sigma
        else:
            removed = 2.0 * variance * sigma**2 * jnp.log(high / low) * dt
            drift, noise = (removed, jnp.sqrt(removed)) if sampler == "sde" else (0.5 * removed, 0.0)
        drift = jnp.minimum(drift / cold, jnp.maximum(drift, variance * sigma**2))
        z = jax.random.normal(part_key, part.shape)
        parts.append(drift * part + jnp.where(last, 0.0, noise) * z)
    return Move(*parts)


def _twist(x: jax.Array, angles: jax.Array, tree: Tree) -> jax.Array:
    """Rotates the moved atoms of each rotatable bond by its angle [T], one bond after the other."""

    def one(x, bond):
        (i, j), angle, moved, exists = bond
        axis = x[j] - x[i]
        axis /= jnp.maximum(jnp.linalg.norm(axis), 1e-6)
        turned = (x - x[j]) @ so3.to_matrix(angle * axis).T + x[j]
        return jnp.where((moved & exists)[:, None], turned, x), None

    return jax.lax.scan(one, x, (tree.bonds, angles, tree.moved, tree.torsions))[0]


def _align(x: jax.Array, target: jax.Array, atoms: jax.Array) -> jax.Array:
    """x rotated and translated to the least squared distance from the target (Kabsch 1976)."""
    weight = atoms[:, None].astype(x.dtype)
    middle, aim = center(x, atoms), center(target, atoms)
    u, _, v = jnp.linalg.svd(((x - middle) * weight).T @ ((target - aim) * weight))
    flip = jnp.array([1.0, 1.0, jnp.sign(jnp.linalg.det(u @ v))])
    return (x - middle) @ (u * flip) @ v + aim
