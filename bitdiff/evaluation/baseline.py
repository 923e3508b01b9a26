"""The perplexity of generated text under an autoregressive model of the same data."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.data import Dataset
from bitdiff.data.dataset import stack
from bitdiff.evaluation.judge import Judge
from bitdiff.inference.trained import Trained, load
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import Score

_BATCH = 100
_MOST_EXAMPLES = 2_000  # of held-out text


def open_baseline(run: Trained, folder: Path) -> Judge:
    """A judge that reports the perplexity of samples under the autoregressive run in a folder.

    Raises:
      UsageError: the folder holds no autoregressive model of unconditional text with the run's tokenizer.
    """
    baseline = load(folder)
    own, other = run.config.data, baseline.config.data
    if baseline.task.cross_entropy is None or baseline.task.uses_examples or other.num_classes:
        raise UsageError(f"--baseline: {folder} holds no autoregressive model of unconditional sequences")
    if (own.tokenizer_hash, own.vocab_size, own.length) != (other.tokenizer_hash, other.vocab_size, other.length):
        raise UsageError(
            f"--baseline: {folder} was trained with {other.vocab_size} tokens, length {other.length} and tokenizer "
            f"{other.tokenizer_hash[:8] or 'none'}, but the run with {own.vocab_size}, {own.length} and "
            f"{own.tokenizer_hash[:8] or 'none'}; all three must match"
        )
    about = f"under the autoregressive model in {folder}, step {baseline.step}"

    def scores(outputs: dict[str, np.ndarray], dataset: Dataset) -> dict[str, Score]:
        real = stack(dataset.test if len(dataset.test) else dataset.train, _MOST_EXAMPLES)["tokens"]
        return {
            "perplexity": Score(perplexity(baseline, outputs["tokens"]), f"of the samples, {about}"),
            "perplexity_real": Score(perplexity(baseline, real), f"of {len(real)} sequences of the data, {about}"),
        }

    facts = {"baseline": str(folder), "step": baseline.step, "weights": baseline.weights}
    return Judge("baseline", facts, scores)


def perplexity(run: Trained, tokens: np.ndarray) -> float:
    """exp(nats per token) of sequences int [N, L] under an autoregressive model, over all tokens up to EOS.

    If a sequence has no EOS, its first PAD is scored as EOS.
    """
    assert run.task.cross_entropy is not None
    compiled = jax.jit(run.task.cross_entropy)
    params = jax.tree.map(jnp.asarray, jax.device_get(run.params))
    data = run.config.data
    if data.eos >= 0:
        tokens = np.where(tokens == data.pad, data.eos, tokens)
    sums = np.zeros(2)
    for start in range(0, len(tokens), _BATCH):
        part = tokens[start : start + _BATCH]
        padded = np.concatenate([part, np.repeat(part[:1], _BATCH - len(part), axis=0)])
        keys = jax.random.split(jax.random.key(0), _BATCH)
        nats, counts = jax.device_get(compiled(params, {"tokens": jnp.asarray(padded)}, keys))
        sums += np.sum(nats[: len(part)], dtype=np.float64), np.sum(counts[: len(part)], dtype=np.float64)
    return float(np.exp(sums[0] / sums[1]))
