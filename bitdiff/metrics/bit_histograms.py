"""Histograms of generated analog bits, and how sharply two-valued they are (Analog Bits, figure 7)."""

import jax
import jax.numpy as jnp
import numpy as np

BINS = 40


def histogram(analog: jax.Array, scale: float) -> jax.Array:
    """Counts of analog values in equal bins from -scale to scale: float [B, ...] -> int32 [B, BINS]."""
    flat = analog.reshape(len(analog), -1)
    bins = jnp.clip(jnp.floor((flat / scale + 1.0) * (BINS / 2)), 0, BINS - 1).astype(jnp.int32)
    return jax.vmap(lambda row: jnp.bincount(row, length=BINS))(bins).astype(jnp.int32)


def sharpness(counts: np.ndarray) -> float:
    """The fraction of analog bits within 0.1 scale of either end, from counts [..., BINS]; 1 is two sharp peaks."""
    counts = np.asarray(counts, np.float64).reshape(-1, BINS).sum(0)
    edge = BINS // 20
    return float((counts[:edge].sum() + counts[-edge:].sum()) / counts.sum())
