"""The one interface between a model and everything else: pure functions in a NamedTuple."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from bitdiff.data import Dataset, Source
from bitdiff.tasks.options import SampleOptions


class Score(NamedTuple):
    """One measured number, and a description for a reader who sees nothing else."""

    value: float
    about: str


class Task(NamedTuple):
    """A model that can be trained, sampled and evaluated.

    field: what it generates, 'image', 'tokens', 'point' or 'pose'; the name of the values in batches and outputs.
    init: key -> parameters.
    loss: (params, batch, keys [B]) -> (loss, metrics): the mean over the batch, float32 [], and scalars by
      name. An example's randomness comes from its own key.
    sample: (params, condition, keys [B], options) -> outputs: arrays [B, ...] by name: 'image' or 'tokens' in the
      data's format, 'invalid' float32, the fraction of invalid codes, 'histogram' of the analog bits as in
      `metrics.bit_histograms`, and with options.frames 'trajectory' [B, frames, ...], intermediate estimates.
    condition: (indices int [B], labels or None, examples or None) -> arrays [B, ...] by name: what each sample is
      conditioned on. `examples` hold pictures to describe, values to infer latents from, or 'known' values with -1
      where they are open; they are assigned to the samples in turn, and 'source' holds their indices.
    evaluate: (outputs, dataset, options) -> scores by name; runs on the host.
    network: (params, condition, batch size) -> one network evaluation on zeros, to be timed against sampling; None
      if sampling is not a sequence of such evaluations.
    uses_examples: whether samples are conditioned on examples, so that `evaluate` gives `condition` the test examples.
    frozen: entries of the parameters that training does not change.
    copied: subtrees of the parameters, such as 'prior/trunk', that are copied from another run; training can freeze
      them at first (config.optimizer.freeze_steps).
    losses: (params, batch, keys [B]) -> (loss [N], t [N]) of each example, whose mean is `loss`; None if the model
      has no time.
    errors: (params, batch, keys [B]) -> (mean squared error of the estimate of x0 [N], gamma_t [N]) of each example;
      None if the model has no time.
    passes: how many times the sampling steps run for a sample: once per block, otherwise once.
    cross_entropy: (params, batch, keys [B]) -> (nats [N], tokens [N]) of each sequence, without dropout; None if the
      model has no exact likelihood.
    bound: (params, batch, keys [B]) -> (nats [N], values [N]), an estimate of an upper bound on -log p of each example
      or caption, without dropout, and its number of values; None if the model has no bound.
    infer: (params, the examples' values [B, ...], keys [B]) -> int32 [B, latents]; None without latents.
    """

    field: str
    init: Callable[[jax.Array], Any]
    loss: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
    sample: Callable[[Any, dict[str, jax.Array], jax.Array, SampleOptions], dict[str, jax.Array]]
    condition: Callable[..., dict[str, np.ndarray]]
    evaluate: Callable[[dict[str, np.ndarray], Dataset, SampleOptions], dict[str, Score]]
    network: Callable[[Any, dict[str, jax.Array], int], jax.Array] | None = None
    uses_examples: bool = False
    frozen: tuple[str, ...] = ()
    copied: tuple[str, ...] = ()
    losses: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, jax.Array]] | None = None
    errors: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, jax.Array]] | None = None
    passes: int = 1
    cross_entropy: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, jax.Array]] | None = None
    bound: Callable[[Any, dict[str, jax.Array], jax.Array], tuple[jax.Array, jax.Array]] | None = None
    infer: Callable[[Any, jax.Array, jax.Array], jax.Array] | None = None


def examples_for(task: Task, dataset: Dataset) -> Source | None:
    """The examples a task's samples are conditioned on: test examples, or training examples if there are none."""
    return examples_of(dataset) if task.uses_examples else None


def examples_of(dataset: Dataset) -> Source:
    """The test examples, or the training examples if there are none."""
    return dataset.test if len(dataset.test) else dataset.train


def training_examples_for(task: Task, dataset: Dataset) -> Source | None:
    """The training examples, if the task's samples are conditioned on examples."""
    return dataset.train if task.uses_examples else None
