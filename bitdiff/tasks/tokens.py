"""Token arrays as analog bits: int32 [L], denoised by the Transformer."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import numpy as np

from bitdiff.conditions import Condition
from bitdiff.data import Dataset, token_pairs
from bitdiff.data.dataset import stack
from bitdiff.diffusion.bits import Codec
from bitdiff.diffusion.oracle import bayes_denoiser
from bitdiff.diffusion.sampling import Estimation, follow
from bitdiff.metrics import distributions
from bitdiff.tasks import caption_scores
from bitdiff.tasks.bit_scores import bit_scores
from bitdiff.tasks.denoiser import Layout
from bitdiff.tasks.denoising import make_denoising_task
from bitdiff.tasks.expression_scores import expression_scores
from bitdiff.tasks.options import SampleOptions, plan_of
from bitdiff.tasks.parts import make_codec
from bitdiff.tasks.task import Score, Task
from bitdiff.tasks.text_scores import text_scores

_MAX_STATES = 4_096  # distinct sequences the oracle can hold; with more, distances are per position
_MOST_EXAMPLES = 200_000  # of large data sets, an evenly spread part is read
_EXAMPLES_PER_STATE = 4  # with fewer, even real data would seem far from the training data
_ORACLE_BATCH = 1_000


def make_token_task(config: Any, network: nn.Module | None = None, conditions: Sequence[Condition] = ()) -> Task:
    """Bit Diffusion of token sequences of length config.data.length, or of captions if config.encoder is set.

    Raises:
      UsageError: see `make_denoising_task`.
    """

    def evaluate_tokens(outputs, dataset, options):
        return evaluate(outputs, dataset, options, config, codec=make_codec(config))

    return make_denoising_task(config, Layout("tokens", (config.data.length,), 1), evaluate_tokens, network, conditions)


def evaluate(
    outputs: dict[str, np.ndarray],
    dataset: Dataset,
    options: SampleOptions,
    config: Any,
    *,
    codec: Codec | None = None,
    oracle: bool = True,
) -> dict[str, Score]:
    """Scores of captions, of text, or of tokens from a known distribution.

    Args:
      outputs: samples, with 'source' if they are captions.
      dataset: the data set.
      options: how the samples were drawn.
      config: the run's config.
      codec: the codec of a bit model; None for an autoregressive one.
      oracle: whether a bit model denoises all tokens at once, so that its sampler can be run with the exact denoiser.
    """
    scores = bit_scores(outputs, codec.encoding) if codec else {}
    if dataset.field == "captions":
        return scores | caption_scores.evaluate(outputs, dataset, config.evaluate.tokenizer)
    if config.data.name == "expressions" and dataset.tokenizer:
        real = [dataset.test[i]["tokens"] for i in range(len(dataset.test))]
        return scores | expression_scores(*(dataset.tokenizer.texts(some) for some in (outputs["tokens"], real)))
    scores |= distances(outputs["tokens"], dataset, options, codec=codec if oracle else None)
    if config.data.name == "mixture":
        scores |= _distance_to_known(outputs["tokens"])
    return scores | (text_scores(outputs["tokens"], dataset) if dataset.tokenizer else {})


def _distance_to_known(samples: np.ndarray) -> dict[str, Score]:
    """Total variation to the known distribution that the training data themselves were drawn from."""
    probabilities = token_pairs.probabilities()
    states = np.argwhere(np.ones_like(probabilities))
    floor = distributions.tv_floor(probabilities.ravel(), len(samples))
    about = f"total variation between {len(samples)} samples and the known distribution"
    return {
        "known_tv": Score(distributions.tv(samples, states, probabilities.ravel()), about),
        "known_tv_floor": Score(floor, "the same, expected for perfect samples"),
    }


def distances(
    samples: np.ndarray, dataset: Dataset, options: SampleOptions, *, codec: Codec | None
) -> dict[str, Score]:
    """Total variation distances between generated and training sequences int [N, L].

    With few distinct sequences, the distance is between distributions of whole sequences, beside its expectation for
    perfect samples and, for a bit model, the distance of the same sampler with the Bayes-optimal denoiser of the
    training data, which separates the network's error from the sampler's. Otherwise it is per position.
    """
    train, test = stack(dataset.train, _MOST_EXAMPLES)["tokens"], stack(dataset.test, _MOST_EXAMPLES).get("tokens")
    states, counts = np.unique(train, axis=0, return_counts=True)
    if len(states) > min(_MAX_STATES, len(train) // _EXAMPLES_PER_STATE):
        return _marginal_distances(samples, train, test, states, dataset.vocab_size)

    probabilities = counts / counts.sum()
    about = f"total variation between whole sequences, {len(samples)} samples against the training data"
    scores = {
        "tv": Score(distributions.tv(samples, states, probabilities), about),
        "tv_floor": Score(
            distributions.tv_floor(probabilities, len(samples)),
            "its expectation for as many draws from the training data",
        ),
    }
    if codec:
        oracle = _oracle_samples(codec, states, probabilities, options, len(samples))
        scores["tv_oracle"] = Score(
            distributions.tv(oracle, states, probabilities),
            "the same sampler with the Bayes-optimal denoiser in place of the network",
        )
    if test is not None:
        value = distributions.tv(test, states, probabilities)
        floor = distributions.tv_floor(probabilities, len(test))
        about = f"the same distance for the {len(test)} test sequences; {floor:.3g} if they came from the training data"
        scores["tv_real"] = Score(value, about)
    return scores


def _marginal_distances(
    samples: np.ndarray, train: np.ndarray, test: np.ndarray | None, states: np.ndarray, vocab_size: int
) -> dict[str, Score]:
    about = f"total variation of single tokens, mean over positions, {len(samples)} samples against the training data"
    scores = {"marginal_tv": Score(distributions.marginal_tv(samples, train, vocab_size), about)}
    if test is not None:
        value = distributions.marginal_tv(test, train, vocab_size)
        scores["marginal_tv_real"] = Score(value, f"the same for the {len(test)} test sequences")
    known = {row.tobytes() for row in states}
    copies = np.mean([row.astype(states.dtype).tobytes() in known for row in samples])
    scores["copies"] = Score(float(copies), "fraction of samples equal to a training sequence")
    return scores


def _oracle_samples(
    codec: Codec, states: np.ndarray, probabilities: np.ndarray, options: SampleOptions, count: int
) -> np.ndarray:
    points = codec.encode(states[..., None])
    denoise = bayes_denoiser(points, probabilities)
    plan = plan_of(options, points.shape[1])

    @jax.jit
    def draw(key):
        shape = (_ORACLE_BATCH, *points.shape[1:])
        estimation = Estimation(clip=codec.scale)
        samples = follow(denoise, key, shape, plan, sampler=options.sampler, estimation=estimation)
        return codec.decode(samples.x0)[..., 0]

    key = jax.random.key(0)
    batches = [draw(jax.random.fold_in(key, i)) for i in range(-(-count // _ORACLE_BATCH))]
    return np.concatenate(batches)[:count]
