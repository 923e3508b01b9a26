"""The baseline: a causal Transformer generates tokens from left to right, optionally describing a picture.

It differs from Bit Diffusion of tokens only in the config: the same blocks, the same encoder, the same training loop.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.conditions import Condition, Request, combine, derive_keys
from bitdiff.conditions.labels import make_labels
from bitdiff.conditions.pictures import make_pictures
from bitdiff.data import Source
from bitdiff.networks import make_network
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks import tokens
from bitdiff.tasks.causal_conditions import select_conditions
from bitdiff.tasks.combinations import check_autoregressive
from bitdiff.tasks.denoiser import network_params
from bitdiff.tasks.options import DIFFUSION_OPTIONS, GUIDANCE, SampleOptions, options_in_use
from bitdiff.tasks.task import Task

SAMPLERS = ("beam", "random")
_UNSUPPORTED = DIFFUSION_OPTIONS | {"steps": 0, "temperature": 1.0} | dict.fromkeys(GUIDANCE, 0.0)


class CausalModel(NamedTuple):
    """A causal network and what it is conditioned on.

    length, vocab_size: length and vocabulary size of the sequences.
    eos, pad: tokens that end a sequence and pad it; -1 if the data have none.
    labels, pictures: conditions, or None.
    """

    network: nn.Module
    length: int
    vocab_size: int
    eos: int
    pad: int
    labels: Condition | None
    pictures: Condition | None


def make_autoregressive_task(config: Any, network: nn.Module | None = None) -> Task:
    """A causal model of token sequences of length config.data.length.

    The loss is the cross-entropy of the tokens up to and including EOS, or of all tokens if the data have no EOS.
    Sampling is a beam search (greedy with one beam), or draws every token from its distribution ('random'); EOS is
    followed by PAD.

    Raises:
      UsageError: an unknown name, a missing size, or incompatible sections.
    """
    check_autoregressive(config)
    data = config.data
    model = CausalModel(
        network=_make_network(config) if network is None else network,
        length=data.length,
        vocab_size=data.vocab_size,
        eos=data.eos,
        pad=data.pad,
        labels=make_labels(data.num_classes, config.diffusion.label_dropout) if data.num_classes else None,
        pictures=make_pictures(config) if config.encoder else None,
    )

    def evaluate(outputs, dataset, options):
        return tokens.evaluate(outputs, dataset, options, config)

    return Task(
        field="tokens",
        init=partial(init_params, model),
        loss=partial(loss, model),
        cross_entropy=partial(cross_entropy, model),
        sample=partial(sample, model),
        condition=partial(condition_on, model),
        evaluate=evaluate,
        uses_examples=model.pictures is not None,
    )


def _make_network(config: Any) -> nn.Module:
    data = config.data
    return make_network(
        config.network,
        out_channels=data.vocab_size,
        num_classes=0,
        length=data.length,
        vocab_size=data.vocab_size + 1 + data.num_classes,  # plus the start tokens: one for no class, one per class
        crosses=bool(config.encoder),
    )


def init_params(model: CausalModel, key: jax.Array) -> Any:
    """Parameters: {'params': the network's, 'encoder': the image encoder's if there is one}."""
    own: dict[str, Any] = {}
    signals = []
    if model.pictures:
        key, own, signal = model.pictures.init(key)
        signals = [signal]

    def evaluate(module):
        inputs = combine(module, None, signals, 1)
        return module(jnp.zeros((1, model.length), jnp.int32), None, None, None, **inputs.attended)

    return {**nn.init(evaluate, model.network)(key), **own}


def loss(
    model: CausalModel, params: Any, batch: dict[str, jax.Array], keys: jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The mean over sequences of the mean cross-entropy of their tokens, in nats."""
    nats, counts = cross_entropy(model, params, batch, keys, dropout=True)
    return jnp.mean(nats / counts), {}


def cross_entropy(
    model: CausalModel,
    params: Any,
    batch: dict[str, jax.Array],
    keys: jax.Array,
    *,
    dropout: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The summed cross-entropy of each sequence's tokens, in nats, and their number: float32 [N] each."""
    if model.pictures:
        batch, keys = model.pictures.expand(batch, keys)
    derived = derive_keys(keys)._replace(labels=jax.vmap(jax.random.fold_in, (0, None))(keys, 0))
    signals = [c.observe(params, batch, derived) for c in (model.labels, model.pictures) if c]
    values = batch["tokens"]
    inputs = combine(model.network, network_params(params), signals, len(values))
    shifted = jnp.concatenate([_start_tokens(model, inputs.label, len(values))[:, None], values[:, :-1]], axis=1)
    logits = jnp.asarray(
        model.network.apply(network_params(params), shifted, dropout_keys=keys if dropout else None, **inputs.attended)
    )
    log_p = jnp.take_along_axis(jax.nn.log_softmax(logits), values[..., None], axis=-1)[..., 0]
    weights = jnp.cumsum(shifted == model.eos, axis=1) == 0  # up to and including EOS
    return -jnp.sum(log_p * weights, axis=1), jnp.sum(weights, axis=1, dtype=jnp.float32)


def condition_on(
    model: CausalModel, indices: np.ndarray, labels: tuple[int, ...] | None, examples: Source | None = None
) -> dict[str, np.ndarray]:
    """The task's `condition`; see `select_conditions`."""
    return select_conditions(Request(np.asarray(indices), labels, examples), model.labels, model.pictures)


def sample(
    model: CausalModel, params: Any, arrays: dict[str, jax.Array], keys: jax.Array, options: SampleOptions
) -> dict[str, jax.Array]:
    """Sequences int32 [B, L] by beam search or at random: the task's `sample`.

    Raises:
      UsageError: an option that an autoregressive model does not support, or out of range.
    """
    _check_options(model, options)
    beams, count = options.beams, len(keys)
    signals = []
    if model.pictures:
        context = model.pictures.receive(params, arrays, derive_keys(keys))
        signals = [model.pictures.embed(params, context, False)]
    attended = combine(model.network, network_params(params), signals, count).attended
    memory = jax.tree.map(lambda a: a.repeat(beams, axis=0), attended.get("memory"))

    def advance(search: _Search, index):
        logits, cache = model.network.apply(
            network_params(params), search.token.reshape(-1, 1), index, search.cache, memory, method="advance"
        )
        log_p = _log_probabilities(model, logits.reshape(count, beams, -1), search.ended)
        return choose_tokens(search._replace(cache=cache), log_p, index), None

    choose_tokens: Callable[..., _Search] = partial(_random if options.sampler == "random" else _beam, model, keys)
    cache = model.network.apply(network_params(params), count * beams, method="empty_cache")
    start = _start_tokens(model, arrays.get("label"), count)[:, None].repeat(beams, axis=1).astype(jnp.int32)
    search = _Search(
        token=start,
        ended=jnp.zeros((count, beams), bool),
        scores=jnp.where(jnp.arange(beams) == 0, 0.0, -jnp.inf) * jnp.ones((count, 1)),
        written=jnp.zeros((count, beams, model.length), jnp.int32),
        cache=cache,
    )
    search, _ = jax.lax.scan(advance, search, jnp.arange(model.length))
    outputs = {name: array for name, array in arrays.items() if name != "image"}
    outputs |= {"tokens": search.written[:, 0], "invalid": jnp.zeros(count)}
    return outputs | ({"beams": search.written, "beam_scores": search.scores} if beams > 1 else {})


class _Search(NamedTuple):
    """The state of a search, [B, beams] each: last tokens, whether EOS was reached, scores, sequences, cache."""

    token: jax.Array
    ended: jax.Array
    scores: jax.Array
    written: jax.Array
    cache: Any


def _log_probabilities(model: CausalModel, logits: jax.Array, ended: jax.Array) -> jax.Array:
    """Log probabilities [B, beams, vocab] of the next token: never PAD before EOS, and only PAD after it."""
    numbers = jnp.arange(model.vocab_size)
    log_p = jax.nn.log_softmax(jnp.where(numbers == model.pad, -jnp.inf, logits))
    return jnp.where(ended[..., None], jnp.where(numbers == max(model.pad, 0), 0.0, -jnp.inf), log_p)


def _random(model: CausalModel, keys: jax.Array, search: _Search, log_p: jax.Array, index: jax.Array) -> _Search:
    """Draws each sequence's next token from its distribution."""
    token = jax.vmap(lambda key, row: jax.random.categorical(jax.random.fold_in(key, index), row))(keys, log_p[:, 0])
    return _append(model, search, token[:, None], index)


def _beam(model: CausalModel, keys: jax.Array, search: _Search, log_p: jax.Array, index: jax.Array) -> _Search:
    """Continues each sequence's best beams with their best tokens."""
    del keys
    count, beams = search.token.shape
    scores, best = jax.lax.top_k((search.scores[..., None] + log_p).reshape(count, -1), beams)
    parent, token = best // model.vocab_size, best % model.vocab_size
    rows = (jnp.arange(count)[:, None] * beams + parent).reshape(-1)
    search = search._replace(
        scores=scores,
        ended=jnp.take_along_axis(search.ended, parent, axis=1),
        written=jnp.take_along_axis(search.written, parent[..., None], axis=1),
        cache=jax.tree.map(lambda a: a[rows], search.cache),
    )
    return _append(model, search, token, index)


def _append(model: CausalModel, search: _Search, token: jax.Array, index: jax.Array) -> _Search:
    return search._replace(
        token=token, ended=search.ended | (token == model.eos), written=search.written.at[:, :, index].set(token)
    )


def _start_tokens(model: CausalModel, label: jax.Array | None, count: int) -> jax.Array:
    """The token before the first one, int32 [B], which encodes the label or its absence."""
    return jnp.full((count,), model.vocab_size, jnp.int32) if label is None else model.vocab_size + 1 + label


def _check_options(model: CausalModel, options: SampleOptions) -> None:
    choose("sampler of an autoregressive model", options.sampler, SAMPLERS)
    given = options_in_use(options, _UNSUPPORTED)
    if given:
        raise UsageError(f"{', '.join(given)}: not supported by an autoregressive model")
    limit = 1 if options.sampler == "random" else model.vocab_size
    if not 1 <= options.beams <= limit:
        raise UsageError(f"beams is {options.beams}; the sampler {options.sampler!r} supports 1 to {limit}")
