"""Learned discrete latents beside a diffusion model (Xu et al. 2024, DisCo-Diff, section 3), whatever it generates.

An encoder, trained by the denoising loss alone, infers m latents of k values from the clean example; they are relaxed
by Gumbel-Softmax, embedded, and looked at by the network. With k = 2 that is Gumbel-sigmoid: a latent is a bit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from bitdiff.errors import UsageError
from bitdiff.networks import make_latent_networks


class Latents(NamedTuple):
    """What a task does with the latents of its examples.

    count: latents of an example, 0 for none at all.
    codes: values a latent can take.
    init: key, an example [1, ...] as the encoder takes it -> parameters {'encoder', 'embed'}.
    relaxed: (params, x, keys [B]) -> float [B, count, codes], as in training.
    drawn: (params, x, keys [B]) -> int32 [B, count], draws from the encoder's distribution.
    hide: keys [B] -> bool [B], whose latents are hidden in training.
    context: (params, z, hidden bool [B]) -> float [B, count, dim]; z relaxed, or int32 [B, count].
    """

    count: int
    codes: int
    init: Callable[[jax.Array, jax.Array], Any]
    relaxed: Callable[[Any, jax.Array, jax.Array], jax.Array]
    drawn: Callable[[Any, jax.Array, jax.Array], jax.Array]
    hide: Callable[[jax.Array], jax.Array]
    context: Callable[[Any, jax.Array, jax.Array], jax.Array]


def make_latents(options: Any) -> Latents:
    """What goes with a config's `latents` section.

    Raises:
      UsageError: a number out of range, an unknown name or field.
    """
    if not options.count:
        return Latents(0, 0, *(None,) * 5)
    if options.count < 0 or options.codes < 2:
        raise UsageError(
            f"config.latents has count {options.count} and codes {options.codes}; they must be 0 or more, and 2 or more"
        )
    if not options.temperature > 0:
        raise UsageError(f"config.latents.temperature is {options.temperature}; it must be above 0")
    if not 0 <= options.dropout < 1:
        raise UsageError(f"config.latents.dropout is {options.dropout}; it must be in [0, 1)")
    encoder, embed = make_latent_networks(options)

    def init(key, x):
        encoder_key, embed_key = jax.random.split(key)
        z = jnp.zeros((1, options.count, options.codes))
        return {
            "encoder": encoder.init(encoder_key, x)["params"],
            "embed": embed.init(embed_key, z, jnp.zeros(1, bool))["params"],
        }

    def logits(params, x):
        return encoder.apply({"params": params["encoder"]}, x)

    def relaxed(params, x, keys):
        return gumbel_softmax(logits(params, x), keys, options.temperature, hard=options.straight_through)

    def drawn(params, x, keys):
        return jax.vmap(jax.random.categorical)(keys, logits(params, x)).astype(jnp.int32)

    def hide(keys):
        return jax.vmap(lambda key: jax.random.bernoulli(key, options.dropout))(keys)

    def context(params, z, hidden):
        z = jax.nn.one_hot(z, options.codes) if jnp.issubdtype(z.dtype, jnp.integer) else z
        return embed.apply({"params": params["embed"]}, z, hidden)

    return Latents(options.count, options.codes, init, relaxed, drawn, hide, context)


def gumbel_softmax(logits: jax.Array, keys: jax.Array, temperature: float, *, hard: bool) -> jax.Array:
    """softmax((logits + g) / temperature) with Gumbel noise g (Jang et al. 2017): a relaxed draw.

    Args:
      logits: float [B, ..., K].
      keys: PRNG keys [B].
      temperature: above 0; towards 0 the draw becomes one-hot.
      hard: whether the value is one-hot, with the gradient of the relaxed draw (straight-through).

    Returns:
      float [B, ..., K]; sums over K are 1.
    """
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:]))(keys)
    soft = jax.nn.softmax((logits + noise) / temperature)
    if not hard:
        return soft
    chosen = jax.nn.one_hot(jnp.argmax(soft, axis=-1), logits.shape[-1], dtype=soft.dtype)
    return soft + jax.lax.stop_gradient(chosen - soft)
