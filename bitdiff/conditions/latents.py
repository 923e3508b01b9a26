"""Learned discrete latents (Xu et al. 2024, DisCo-Diff, section 3), whatever the model generates.

An encoder, trained with the denoising loss (and an optional KL penalty), infers m latents z of k values from the clean
example x. A second stage learns a prior, so that the model of x given a condition c is
p(x | c) = sum_z p(z | c) p(x | z, c). In training, latents are relaxed by Gumbel-Softmax. The network gets them as
embeddings that it attends to, as in DisCo-Diff, or as W z, added to the time embedding that modulates all layers. With
k = 2 the relaxation is Gumbel-sigmoid: a latent is a bit.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.conditions.condition import Condition, Keys, Request, Signal
from bitdiff.networks import make_latent_networks


class Inference(NamedTuple):
    """How latents are inferred from examples.

    prepare: an example's values [B, ...] -> the encoder's input, float [B, ...] in about [-1, 1].
    blank: values of one example, for initialization.
    """

    prepare: Callable[[jax.Array], jax.Array]
    blank: jax.Array


def make_latents(options: Any, field: str, inference: Inference) -> Condition:
    """The latents of a config's `latents` section; dropped latents are replaced by a learned null embedding.

    Args:
      options: the section, with a count of 1 or more.
      field: the name of the values in batches and examples that the latents are inferred from.
      inference: how they are inferred.

    Raises:
      UsageError: an unknown name or field.
    """
    encoder, embedding = make_latent_networks(options)
    modulates = options.route == "modulation"

    def init(key):
        rest, own = jax.random.split(key)
        encoder_key, embed_key = jax.random.split(own)
        z = jnp.zeros((1, options.count, options.codes))
        params = {"encoder": encoder.init(encoder_key, inference.prepare(inference.blank))["params"]}
        if not modulates:
            params["embed"] = embedding.init(embed_key, z, jnp.zeros(1, bool))["params"]
        return rest, {"latents": params}, signal({"latents": params}, z, jnp.zeros(1, bool))

    def signal(params, z, dropped):
        z = jax.nn.one_hot(z, options.codes) if jnp.issubdtype(z.dtype, jnp.integer) else z
        if modulates:
            return Signal(features=jnp.where(dropped[:, None], 0.0, z.reshape(len(z), -1)))
        return Signal(context=jnp.asarray(embedding.apply({"params": params["latents"]["embed"]}, z, dropped)))

    def encode(params, values) -> jax.Array:
        x = inference.prepare(values)
        return jnp.asarray(encoder.apply({"params": params["latents"]["encoder"]}, x))

    def draw(params, values, keys) -> jax.Array:
        return jax.vmap(jax.random.categorical)(keys, encode(params, values)).astype(jnp.int32)

    def observe(params, batch, keys):
        gumbel_keys, drop_keys = jax.vmap(jax.random.split)(keys.latents).T
        logits = encode(params, batch[field])
        z = gumbel_softmax(logits, gumbel_keys, options.temperature, hard=options.straight_through)
        found = signal(params, z, jax.vmap(lambda key: jax.random.bernoulli(key, options.dropout))(drop_keys))
        return found._replace(penalty=options.kl * kl_to_uniform(logits)) if options.kl else found

    def receive(params, arrays, keys: Keys):
        if "example" in arrays:
            return draw(params, arrays["example"], keys.latents)
        return arrays.get("latents", jnp.full((len(keys.latents), options.count), -1, jnp.int32))

    def embed(params, value, null):
        return signal(params, value, jnp.ones(len(value), bool) if null else value[:, 0] < 0)

    return Condition(
        name="latents",
        takes=(field,),
        dropout=options.dropout,
        dropout_field="config.latents.dropout",
        guidance_option="latent_guidance",
        init=init,
        select=lambda request: _select(request, field, inference.blank.ndim - 1),
        observe=observe,
        receive=receive,
        embed=embed,
        outputs=lambda value: {"latents": value},
        infer=draw,
        uses_examples=True,
    )


def gumbel_softmax(logits: jax.Array, keys: jax.Array, temperature: float, *, hard: bool) -> jax.Array:
    """softmax((logits + g) / temperature) with Gumbel noise g (Jang et al. 2017), a relaxed sample.

    Args:
      logits: float [B, ..., K].
      keys: PRNG keys [B].
      temperature: above 0; toward 0 the sample becomes one-hot.
      hard: whether the value is one-hot, with the gradient of the relaxed sample (straight-through).

    Returns:
      float [B, ..., K]; sums over K are 1.
    """
    noise = jax.vmap(lambda key: jax.random.gumbel(key, logits.shape[1:]))(keys)
    soft = jax.nn.softmax((logits + noise) / temperature)
    if not hard:
        return soft
    chosen = jax.nn.one_hot(jnp.argmax(soft, axis=-1), logits.shape[-1], dtype=soft.dtype)
    return soft + jax.lax.stop_gradient(chosen - soft)


def kl_to_uniform(logits: jax.Array) -> jax.Array:
    """KL(q || uniform) of latents with these logits, summed over the latents, in nats: log K - H(q).

    Args:
      logits: float [B, count, K].

    Returns:
      float32 [B].
    """
    log_q = jax.nn.log_softmax(logits)
    return jnp.sum(jnp.exp(log_q) * (log_q + jnp.log(logits.shape[-1])), axis=(-2, -1))


def _select(request: Request, field: str, ndim: int) -> dict[str, np.ndarray]:
    """'example', the values the latents are inferred from, and 'source', their indices; {} without such examples.

    The captions of a picture are used in turn, so that the samples see all kinds of captions.
    """
    if not request.offers(field):
        return {}
    values = [row[field] for row in request.rows]
    if np.ndim(values[0]) > ndim:
        values = [captions[i % len(captions)] for captions, i in zip(values, request.indices, strict=True)]
    return {"example": np.stack(values), "source": request.source}
