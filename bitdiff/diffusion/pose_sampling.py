"""Sampling of poses: the reverse process from the prior to a pose (DiffDock, Corso et al. 2023, section 4.3)."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from bitdiff.diffusion import poses
from bitdiff.diffusion.poses import Move, Ranges, Tree


def follow(
    score: Callable[[jax.Array, jax.Array], Move],
    key: jax.Array,
    conformer: jax.Array,
    tree: Tree,
    ranges: Ranges,
    *,
    steps: int,
    sampler: str,
    temperature: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Samples a pose from the prior around the origin, then takes equal steps in t from 1 to 0; for one example.

    Args:
      score: (x [A, 3], t) -> the score.
      key: the key of all noise.
      conformer: float [A, 3], the ligand anywhere, in any orientation and with any torsion angles.
      tree: its atoms and rotatable bonds.
      ranges: the ranges of the sigmas.
      steps: number of evaluations of the score.
      sampler: one of poses.SAMPLERS; the last step adds no noise.
      temperature: see `poses.reverse_step`.

    Returns:
      The pose [A, 3], and the poses before every step [steps, A, 3].
    """
    prior_key, key = jax.random.split(key)
    centered = jnp.where(tree.atoms[:, None], conformer - poses.center(conformer, tree.atoms), 0.0)
    x = poses.apply(centered, poses.draw_prior(prior_key, ranges, tree), tree)
    dt = 1.0 / steps

    def step(x, inputs):
        i, step_key = inputs
        t = 1.0 - i * dt
        last = i == steps - 1
        move = poses.reverse_step(
            step_key, score(x, t), t, dt, ranges, sampler=sampler, temperature=temperature, last=last
        )
        move = move._replace(torsion=jnp.where(tree.torsions, move.torsion, 0.0))
        return poses.apply(x, move, tree), x

    inputs = (jnp.arange(steps), jax.random.split(key, steps))
    return jax.lax.scan(step, x, inputs)
