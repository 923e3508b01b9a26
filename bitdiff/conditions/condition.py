"""The interface between a model and what it is conditioned on.

To add a condition, write a function that returns a `Condition` and pass its result to `make_task`; training, sampling
and guidance use it through this interface alone. For a condition that configs describe, see
`tasks/denoiser.py: make_conditions`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.data import Source
from bitdiff.diffusion.guidance import Denoise

_LATENTS, _KNOWN, _PICTURES, _GUIDANCE = range(
    2**30, 2**30 + 4
)  # folded into an example's key; the sampler counts from 0


class Signal(NamedTuple):
    """What the network receives from a condition.

    label: int32 [B], -1 for the null label; None if the condition is not a label.
    features: float [B, F], which the network receives beside the one-hot label, zero if dropped; None for none.
    context: float [B, M, D], vectors that the network attends to; None if there are none.
    penalty: float32 [B], added to each example's training loss; None for none.
    """

    label: jax.Array | None = None
    features: jax.Array | None = None
    context: jax.Array | None = None
    penalty: jax.Array | None = None


class Keys(NamedTuple):
    """PRNG keys [B] for each purpose, derived from each example's own key."""

    diffusion: jax.Array
    labels: jax.Array
    dropout: jax.Array
    latents: jax.Array
    known: jax.Array
    pictures: jax.Array
    guidance: jax.Array


@dataclass(frozen=True)
class Request:
    """What samples are to be conditioned on; host-side.

    indices: int [B], the samples' indices.
    labels: classes assigned to the samples in turn, or None.
    examples: examples assigned to the samples in turn, or None: 'image' to describe, values to infer latents from,
      'known' values to complete, or what a custom condition takes.
    """

    indices: np.ndarray
    labels: Sequence[int] | None = None
    examples: Source | None = None

    @cached_property
    def source(self) -> np.ndarray:
        """int32 [B], the index of each sample's example; empty without examples."""
        count = 0 if self.examples is None else len(self.examples)
        return (self.indices % count).astype(np.int32) if count else np.zeros(0, np.int32)

    @cached_property
    def rows(self) -> list[dict[str, Any]]:
        """Each sample's example, read once."""
        examples = self.examples
        if examples is None:
            return []
        read = {i: examples[i] for i in sorted(set(self.source.tolist()))}
        return [read[i] for i in self.source.tolist()]

    def offers(self, name: str) -> bool:
        """Whether the examples hold values of that name."""
        return bool(self.rows) and name in self.rows[0]


class Condition(NamedTuple):
    """One thing that a model is conditioned on.

    name: for messages.
    takes: the names of the examples' arrays that `select` uses.
    takes_labels: whether samples can be conditioned on labels.
    dropout: the rate at which it is dropped in training; guidance by it requires a rate above 0.
    dropout_field: the config field of that rate.
    guidance_option: the field of SampleOptions that holds its guidance weight; '' if it is not guided.
    init: key -> (key left for the rest of the model, its own parameters, its signal for one example).
    select: request -> arrays [B, ...] by name; {} if the request does not concern it.
    observe: (params, batch, keys) -> its signal in training, dropped at its rate.
    receive: (params, arrays from `select`, keys) -> a value, computed once per batch of samples.
    embed: (params, value, null) -> the value's signal, or the null signal.
    constrain: (denoise, arrays, keys) -> a denoiser that enforces the condition.
    outputs: value -> arrays [B, ...] by name, returned with the samples.
    expand: (batch, keys) -> the same with one row for each of several values of an example, such as captions.
    infer: (params, values [B, ...], keys [B]) -> int32 [B, latents] inferred from examples; None otherwise.
    uses_examples: whether samples are conditioned on examples.
    """

    name: str
    takes: tuple[str, ...] = ()
    takes_labels: bool = False
    dropout: float = 0.0
    dropout_field: str = ""
    guidance_option: str = ""
    init: Callable[[jax.Array], tuple[jax.Array, Any, Signal]] = lambda key: (key, {}, Signal())
    select: Callable[[Request], dict[str, np.ndarray]] = lambda request: {}
    observe: Callable[[Any, dict[str, jax.Array], Keys], Signal] = lambda params, batch, keys: Signal()
    receive: Callable[[Any, dict[str, jax.Array], Keys], Any] = lambda params, arrays, keys: None
    embed: Callable[[Any, Any, bool], Signal] = lambda params, value, null: Signal()
    constrain: Callable[[Denoise, dict[str, jax.Array], Keys], Denoise] = lambda denoise, arrays, keys: denoise
    outputs: Callable[[Any], dict[str, jax.Array]] = lambda value: {}
    expand: Callable[[dict[str, jax.Array], jax.Array], tuple[dict[str, jax.Array], jax.Array]] = lambda batch, keys: (
        batch,
        keys,
    )
    infer: Callable[[Any, jax.Array, jax.Array], jax.Array] | None = None
    uses_examples: bool = False


class Inputs(NamedTuple):
    """A network's conditioning arguments.

    label: int32 [B]; with features, float [B, num_classes + F]: the one-hot label, if any, and the features.
    attended: 'memory' or 'context' if the network attends to anything.
    """

    label: jax.Array | None
    attended: dict[str, Any]


def derive_keys(keys: jax.Array) -> Keys:
    """The keys for each purpose, derived from the examples' keys [B]."""
    diffusion, labels, dropout = jax.vmap(lambda key: jax.random.split(key, 3))(keys).T
    fold = jax.vmap(jax.random.fold_in, (0, None))
    return Keys(
        diffusion, labels, dropout, *(fold(keys, number) for number in (_LATENTS, _KNOWN, _PICTURES, _GUIDANCE))
    )


def init_conditions(conditions: Sequence[Condition], key: jax.Array) -> tuple[jax.Array, dict[str, Any], list[Signal]]:
    """The key left for the rest of the model, the conditions' own parameters by name, and their signals."""
    own: dict[str, Any] = {}
    signals = []
    for condition in reversed(conditions):
        key, params, signal = condition.init(key)
        own |= params
        signals.append(signal)
    return key, own, signals[::-1]


def combine(network: nn.Module, params: Any, signals: Sequence[Signal], rows: int, *, num_classes: int = 0) -> Inputs:
    """Joins the signals of all conditions into a network's arguments.

    Networks with a method `remember` (the Transformer) get the keys and values of all contexts, computed once; other
    networks get the contexts themselves.

    Args:
      network: the network, or a bound module.
      params: its parameters; None if it is bound.
      signals: those of all conditions; a context of fewer rows is repeated, e.g. for all captions of a picture.
      rows: B.
      num_classes: number of classes of the label, if the network also receives features.
    """
    label = _label(signals, num_classes)
    contexts = [signal.context for signal in signals if signal.context is not None]
    if not contexts:
        return Inputs(label, {})
    if not hasattr(network, "remember"):
        return Inputs(label, {"context": jnp.concatenate([_repeat(context, rows) for context in contexts], axis=1)})

    def remember(context):
        if params is None:
            return network.remember(context)
        return network.apply(params, context, method="remember")

    memories = [_repeat(remember(context), rows) for context in contexts]
    joined = jax.tree.map(lambda *parts: jnp.concatenate([p.astype(parts[0].dtype) for p in parts], axis=1), *memories)
    return Inputs(label, {"memory": joined})


def _label(signals: Sequence[Signal], num_classes: int) -> jax.Array | None:
    label = next((signal.label for signal in signals if signal.label is not None), None)
    features = [signal.features for signal in signals if signal.features is not None]
    if not features:
        return label
    if label is not None:
        features = [jax.nn.one_hot(label, num_classes, dtype=features[0].dtype), *features]
    return jnp.concatenate(features, axis=-1)


def _repeat(tree: Any, rows: int) -> Any:
    return jax.tree.map(lambda a: a if len(a) == rows else a.repeat(rows // len(a), axis=0), tree)
