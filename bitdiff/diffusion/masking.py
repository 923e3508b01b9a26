"""Absorbing-state (masked) diffusion of integers in continuous time: MD4 (Shi et al. 2024).

Each value of x0 is replaced by the mask with probability 1 - alpha_t, independently of the others. The network predicts
the distribution of every masked value from the values that remain. Masked values are stored as -1.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

MASK = -1
SAMPLERS = ("ancestral", "confidence")
_FIRST = (
    1e-4  # smaller times are not drawn, since the weight diverges at t = 0; this changes the bound by less than 0.02%
)

Predict = Callable[[jax.Array, jax.Array], jax.Array]


def unmasked(t: jax.typing.ArrayLike) -> jax.Array:
    """alpha_t = 1 - cos(pi / 2 (1 - t)), the probability that a value is not masked: 1 at t = 0, 0 at t = 1."""
    return 1.0 - jnp.cos(0.5 * jnp.pi * (1.0 - jnp.asarray(t)))


def weight(t: jax.Array) -> jax.Array:
    """-alpha'_t / (1 - alpha_t) = pi / 2 tan(pi / 2 (1 - t)), the weight of the cross-entropy of masked values."""
    return 0.5 * jnp.pi * jnp.tan(0.5 * jnp.pi * (1.0 - t))


def corrupt(x0: jax.Array, t: jax.Array, keys: jax.Array) -> jax.Array:
    """Masks values of x0 int [B, ...] at times t [B], with keys [B]."""

    def one(x0, t, key):
        return jnp.where(jax.random.uniform(key, x0.shape) < unmasked(t), x0, MASK)

    return jax.vmap(one)(x0, t, keys)


def draw_times(keys: jax.Array) -> jax.Array:
    """Times float32 [B], uniform on [1e-4, 1), from keys [B]."""
    return jax.vmap(lambda key: jax.random.uniform(key, minval=_FIRST))(keys)


def stratified_times(keys: jax.Array) -> jax.Array:
    """Times float32 [B], the i-th uniform in the i-th of B equal parts of [0, 1], to reduce an estimate's variance."""
    count = len(keys)
    return jnp.maximum((jnp.arange(count) + jax.vmap(jax.random.uniform)(keys)) / count, _FIRST)


def bound(predict: Predict, x0: jax.Array, t: jax.Array, keys: jax.Array) -> jax.Array:
    """An estimate of an upper bound on -log p(x0), in nats (MD4, equation 5, without its vanishing terms).

    It is weight(t) times the summed cross-entropy of the masked values; its mean over uniform t is the bound.

    Args:
      predict: (x_t int [B, ...], alpha_t [B]) -> logits [B, ..., values].
      x0: int [B, ...].
      t: float [B].
      keys: PRNG keys [B].

    Returns:
      float32 [B].
    """
    x_t = corrupt(x0, t, keys)
    log_p = jax.nn.log_softmax(predict(x_t, unmasked(t)).astype(jnp.float32))
    nats = -jnp.take_along_axis(log_p, x0[..., None], axis=-1)[..., 0]
    masked = jnp.sum(jnp.where(x_t == MASK, nats, 0.0), axis=tuple(range(1, x0.ndim)))
    return weight(t) * masked


def sample(
    predict: Predict,
    start: jax.Array,
    keys: jax.Array,
    *,
    steps: int,
    sampler: str,
    temperature: float = 1.0,
    keep_trajectory: bool = False,
) -> tuple[jax.Array, jax.Array | None]:
    """Replaces the masks of `start` in equal steps of t, from t = 1 to 0.

    Args:
      predict: see `bound`.
      start: int [B, ...], masks and known values.
      keys: PRNG keys [B].
      steps: the number of evaluations of `predict`.
      sampler: 'ancestral' replaces each mask with probability (alpha_s - alpha_t) / (1 - alpha_t) in the step from t to
        s, with a draw from the predicted distribution. 'confidence' draws all masked values in each step, and keeps
        those with the highest confidence, as many as 'ancestral' replaces on average (MaskGIT, Chang et al. 2022).
      temperature: scales the noise of 'confidence', whose confidence is log p + s * temperature * Gumbel noise. Near 0,
        the most likely values are kept; when it is large, random ones. MaskGIT uses 4.5. 'ancestral' ignores it.
      keep_trajectory: whether to return estimates of x0.

    Returns:
      int [B, ...] without masks, and the estimate of x0 after each step, int [steps, B, ...], or None. An estimate has
      the most likely values in place of the masks that remain.
    """
    times = 1.0 - jnp.arange(steps + 1) / steps

    def step(x_t, number):
        alpha, next_alpha = unmasked(times[number]), unmasked(times[number + 1])
        logits = predict(x_t, jnp.full((len(x_t),), alpha)).astype(jnp.float32)

        def one(x_t, logits, start, key):
            drawn_key, chosen_key = jax.random.split(jax.random.fold_in(key, number))
            drawn = draw_values(drawn_key, logits)
            log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), drawn[..., None], axis=-1)[..., 0]
            if sampler == "confidence":
                scale = temperature * times[number + 1]
                confidence = log_p + scale * jax.random.gumbel(chosen_key, x_t.shape)
                chosen = _most_confident(x_t, start, confidence, next_alpha)
            else:
                chosen = _at_random(x_t, alpha, next_alpha, chosen_key)
            return jnp.where(chosen & (x_t == MASK), drawn.astype(x_t.dtype), x_t)

        x_s = jax.vmap(one)(x_t, logits, start, keys)
        if not keep_trajectory:
            return x_s, None
        return x_s, jnp.where(x_s == MASK, jnp.argmax(logits, axis=-1).astype(x_s.dtype), x_s)

    return jax.lax.scan(step, start, jnp.arange(steps))


def draw_values(key: jax.Array, logits: jax.Array) -> jax.Array:
    """Values int32 [...] from logits [..., values], by inverting the cumulative distribution.

    This takes one random number per position, where jax.random.categorical takes one per position and value.
    """
    cumulative = jnp.cumsum(jax.nn.softmax(logits), axis=-1)
    level = jax.random.uniform(key, logits.shape[:-1]) * cumulative[..., -1]
    below = jnp.sum(cumulative <= level[..., None], axis=-1, dtype=jnp.int32)
    return jnp.minimum(below, logits.shape[-1] - 1)  # in case of rounding


def _at_random(x_t: jax.Array, alpha: jax.Array, next_alpha: jax.Array, key: jax.Array) -> jax.Array:
    # The last step replaces all masks: next_alpha is then 1, up to rounding.
    rate = jnp.where(next_alpha > 1.0 - 1e-6, 1.0, (next_alpha - alpha) / (1.0 - alpha))
    return jax.random.uniform(key, x_t.shape) < rate


def _most_confident(x_t: jax.Array, start: jax.Array, confidence: jax.Array, next_alpha: jax.Array) -> jax.Array:
    open_values = jnp.sum(start == MASK)
    left = jnp.floor(open_values * (1.0 - next_alpha) + 1e-3)  # masks after this step
    replaced = jnp.sum(x_t == MASK) - left
    masked = jnp.where(x_t == MASK, confidence, -jnp.inf).ravel()
    rank = jnp.argsort(jnp.argsort(-masked))
    return (rank < replaced).reshape(x_t.shape)
