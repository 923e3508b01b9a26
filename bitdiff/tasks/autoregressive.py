"""The baseline: tokens from left to right by a causal Transformer, with a picture to describe or without.

It differs from Bit Diffusion of tokens in the config alone: the same blocks, the same encoder, the same training loop.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.errors import UsageError, choose
from bitdiff.networks import make_network
from bitdiff.tasks import looking, tokens
from bitdiff.tasks.labels import make_classes
from bitdiff.tasks.task import Task

SAMPLERS = ("beam", "random")


def make_autoregressive_task(config: Any) -> Task:
    """A causal model of token sequences of config.data.length.

    The loss is the cross-entropy of the tokens up to EOS; where the data have no EOS, of all. Sampling is a beam search
    (with one beam: greedy), or draws every token from its distribution ('random'); after EOS comes PAD.

    Raises:
      UsageError: an unknown name, or a size that is missing or does not fit.
    """
    length, vocab_size = config.data.length, config.data.vocab_size
    eos, pad = config.data.eos, config.data.pad
    num_classes = config.data.num_classes
    if min(length, vocab_size - 1) < 1 or num_classes < 0:
        raise UsageError(
            f"the config's data section has length {length}, vocab_size {vocab_size}, num_classes {num_classes}; an "
            "autoregressive model needs 1, 2 and 0 or more"
        )
    classes = make_classes(num_classes, config.diffusion.label_dropout)
    if config.network.name != "transformer" or config.network.embed_layers != 1:
        raise UsageError("an autoregressive model is a 'transformer' with config.network.embed_layers=1")
    network = make_network(
        config.network,
        out_channels=vocab_size,
        num_classes=0,
        length=length,
        vocab_size=vocab_size + 1 + num_classes,  # the last are what stands before the first token: no class, or one
        crosses=bool(config.encoder),
    )
    look = looking.make_looking(config, network)

    def shifted(values, first):
        return jnp.concatenate([first[:, None], values[:, :-1]], axis=1)

    def before_all(label, count):
        """The token that stands before the first one: int32 [count]."""
        return jnp.full((count,), vocab_size, jnp.int32) if label is None else vocab_size + 1 + label

    def init(key):
        return look.init(key, jnp.zeros((1, length), jnp.int32))

    def loss(params, batch, keys):
        batch, keys, memory = look.rows(params, batch, keys)
        values, label = batch["tokens"], None
        if num_classes:
            label = classes.hide(batch["label"], jax.vmap(jax.random.fold_in, (0, None))(keys, 0))
        inputs = shifted(values, before_all(label, len(values)))
        logits = network.apply(look.own(params), inputs, dropout_keys=keys, memory=memory)
        log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), values[..., None], axis=-1)[..., 0]
        weights = jnp.cumsum(inputs == eos, axis=1) == 0  # up to EOS, itself included
        return jnp.mean(-jnp.sum(log_p * weights, axis=1) / jnp.sum(weights, axis=1)), {}

    def sample(params, condition, keys, how):
        choose("sampler of an autoregressive model", how.sampler, SAMPLERS)
        unused = ("steps", "td", "guidance", "momentum", "self_guidance", "frames", "lag", "endpoint", "restarts")
        unused += ("latent_guidance",)
        given = [f"{name} {getattr(how, name)}" for name in unused if getattr(how, name)]
        if how.churn[0] or how.noise_scale != 1:
            given.append(f"churn {how.churn[0]:g}, noise_scale {how.noise_scale:g}")
        if "known" in condition:
            raise UsageError("an autoregressive model cannot fill in what is left open; take a prior of bits")
        if given:
            raise UsageError(f"{', '.join(given)}: of diffusion; an autoregressive model takes none (0)")
        if how.beams < 1 or how.beams > vocab_size or (how.sampler == "random" and how.beams != 1):
            raise UsageError(f"beams is {how.beams}; 'beam' takes 1 to {vocab_size}, 'random' takes 1")
        memory = look.remember(params, condition["image"]) if look.sees else None
        width, count = how.beams, len(keys)
        memory = jax.tree.map(lambda a: a.repeat(width, axis=0), memory)
        nothing = jnp.where(jnp.arange(vocab_size) == max(pad, 0), 0.0, -jnp.inf)  # all that may follow EOS

        def step(carry, index):
            token, ended, scores, written, cache = carry
            logits, cache = network.apply(look.own(params), token.reshape(-1), index, cache, memory, method="advance")
            logits = jnp.where(jnp.arange(vocab_size) == pad, -jnp.inf, logits)
            log_p = jax.nn.log_softmax(logits).reshape(count, width, vocab_size)
            log_p = jnp.where(ended[..., None], nothing, log_p)
            if how.sampler == "random":
                token = jax.vmap(lambda key, row: jax.random.categorical(jax.random.fold_in(key, index), row))(
                    keys, log_p[:, 0]
                )[:, None]
                parent = jnp.zeros_like(token)
            else:
                scores, best = jax.lax.top_k((scores[..., None] + log_p).reshape(count, -1), width)
                parent, token = best // vocab_size, best % vocab_size
                rows = (jnp.arange(count)[:, None] * width + parent).reshape(-1)
                cache = jax.tree.map(lambda a: a[rows], cache)
                written = jnp.take_along_axis(written, parent[..., None], axis=1)
            ended = jnp.take_along_axis(ended, parent, axis=1) | (token == eos)
            written = written.at[:, :, index].set(token)
            return (token, ended, scores, written, cache), None

        token = before_all(condition.get("label"), count)[:, None].repeat(width, axis=1)
        scores = jnp.where(jnp.arange(width) == 0, 0.0, -jnp.inf) * jnp.ones((count, 1))
        cache = network.apply(look.own(params), count * width, method="empty_cache")
        carry = (token.astype(jnp.int32), token < -1, scores, jnp.zeros((count, width, length), jnp.int32), cache)
        (_, _, _, written, _), _ = jax.lax.scan(step, carry, jnp.arange(length))
        outputs = {name: array for name, array in condition.items() if name != "image"}
        return outputs | {"tokens": written[:, 0], "invalid": jnp.zeros(count)}

    def condition(indices, labels, images=None):
        return classes.deal(indices, labels) | look.take(np.asarray(indices), images)

    def evaluate(outputs, dataset, options):
        return tokens.evaluate(outputs, dataset, options, config)

    return Task(
        field="tokens",
        init=init,
        loss=loss,
        sample=sample,
        condition=condition,
        evaluate=evaluate,
        start=look.start,
        told_by_examples=look.sees,
    )
