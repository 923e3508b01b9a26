"""Token arrays as analog bits: int32 [L], denoised by the Transformer."""

from typing import Any

import jax
import numpy as np

from bitdiff import sampling, schedules
from bitdiff.data import Dataset
from bitdiff.data.dataset import stack
from bitdiff.metrics import distributions
from bitdiff.oracle import bayes_denoiser
from bitdiff.tasks import captions
from bitdiff.tasks.denoising import bit_scores, make_codec, make_denoising_task
from bitdiff.tasks.task import SampleOptions, Score, Task

_MAX_STATES = 4_096  # sequences that the oracle holds; beyond that distances are per position
_EXAMPLES_PER_STATE = 4  # fewer, and even real data would seem far from the training data
_ORACLE_BATCH = 1_000


def make_token_task(config: Any) -> Task:
    """Bit Diffusion of token sequences of config.data.length; of captions where config.encoder sees pictures."""

    def evaluate_tokens(outputs, dataset, options):
        return evaluate(outputs, dataset, options, config, codec=make_codec(config))

    return make_denoising_task(config, field="tokens", grid=(config.data.length,), channels=1, evaluate=evaluate_tokens)


def evaluate(
    outputs: dict[str, np.ndarray], dataset: Dataset, options: SampleOptions, config: Any, *, codec: Any = None
) -> dict[str, Score]:
    """What is measured of captions, of text, and of tokens from a known distribution; `codec` of a bit model."""
    scores = bit_scores(outputs, codec.encoding) if codec else {}
    if dataset.field == "captions":
        return scores | captions.evaluate(outputs, dataset, config.evaluate.tokenizer)
    return scores | distances(outputs["tokens"], dataset, options, codec=codec)


def distances(samples: np.ndarray, dataset: Dataset, options: SampleOptions, *, codec: Any) -> dict[str, Score]:
    """Total variation between generated and training sequences, beside its floor and what the sampler costs.

    With few distinct sequences the distance is over whole sequences, and a bit model's sampler is run with the
    Bayes-optimal denoiser of the training data too, so that what the network adds can be told apart.
    """
    train, test = (stack(split).get("tokens") for split in (dataset.train, dataset.test))
    scores = {}
    states, counts = np.unique(train, axis=0, return_counts=True)
    if len(states) > min(_MAX_STATES, len(train) // _EXAMPLES_PER_STATE):
        scores["marginal_tv"] = Score(
            distributions.marginal_tv(samples, train, dataset.vocab_size),
            f"total variation of single tokens, mean over positions, {len(samples)} samples to the training data",
        )
        if test is not None:
            value = distributions.marginal_tv(test, train, dataset.vocab_size)
            scores["marginal_tv_real"] = Score(value, f"the same for the {len(test)} test sequences")
        known = {row.tobytes() for row in states}
        copies = np.mean([row.astype(states.dtype).tobytes() in known for row in samples])
        scores["copies"] = Score(float(copies), "share of samples equal to a training sequence")
        return scores

    shares = counts / counts.sum()
    about = f"total variation of whole sequences, {len(samples)} samples to the training data"
    scores["tv"] = Score(distributions.tv(samples, states, shares), about)
    scores["tv_floor"] = Score(
        distributions.tv_floor(shares, len(samples)), "its expectation for perfect samples, equally many"
    )
    if codec:
        drawn = _oracle_samples(codec, states, shares, options, len(samples))
        scores["tv_oracle"] = Score(
            distributions.tv(drawn, states, shares),
            "the same sampler with the Bayes-optimal denoiser in the network's place",
        )
    if test is not None:
        value = distributions.tv(test, states, shares)
        scores["tv_real"] = Score(value, f"the same distance for the {len(test)} test sequences")
    return scores


def _oracle_samples(codec, states: np.ndarray, shares: np.ndarray, options: SampleOptions, count: int) -> np.ndarray:
    points = codec.encode(states[..., None])
    denoise = bayes_denoiser(points, shares)
    gamma = schedules.make_schedule(options.schedule, dict(options.schedule_options))

    @jax.jit
    def draw(key):
        shape = (_ORACLE_BATCH, *points.shape[1:])
        analog = sampling.sample(
            denoise,
            key,
            shape,
            gamma=gamma,
            steps=options.steps,
            td=options.td,
            lag=options.lag,
            endpoint=options.endpoint,
            churn=options.churn,
            restarts=options.restarts,
            noise_scale=options.noise_scale,
            sampler=options.sampler,
            clip=codec.scale,
        )
        return codec.decode(analog)[..., 0]

    key = jax.random.key(0)
    batches = [draw(jax.random.fold_in(key, i)) for i in range(-(-count // _ORACLE_BATCH))]
    return np.concatenate(batches)[:count]
