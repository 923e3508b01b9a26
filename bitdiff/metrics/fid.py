"""FID and related scores: Inception features of many images, and the reference they are compared with."""

import json
import logging
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bitdiff.metrics import feature_scores, frechet
from bitdiff.metrics.inception import Features, Inception, preprocess
from bitdiff.metrics.inception_weights import Weights
from bitdiff.runtime import devices, files, processes
from bitdiff.runtime.errors import UsageError

_log = logging.getLogger(__name__)
RESIZE = "299 x 299, bilinear as TensorFlow 1 (no half-pixel centres, no antialiasing)"


class Summary(NamedTuple):
    """Statistics of many images.

    moments: moments of all pool features.
    pool: float32 [n, 2048], the features of the first n images, for KID, precision and recall.
    logits: float32 [N, 1008] of all images for the Inception Score, or None if not kept.
    """

    moments: frechet.Moments
    pool: np.ndarray
    logits: np.ndarray | None


class Reference(NamedTuple):
    """A data set's summary and its provenance: data, split, count, resize, hash of the weights."""

    summary: Summary
    provenance: dict[str, Any]


class Extractor(NamedTuple):
    """Computes features of up to batch_size images uint8 [N, H, W, C], C 1 or 3, on this process's devices."""

    batch_size: int
    apply: Callable[[np.ndarray], Features]

    def __call__(self, images: np.ndarray) -> Features:
        """The features of some images, as NumPy arrays."""
        count = len(images)
        if images.shape[-1] == 1:
            images = np.repeat(images, 3, axis=-1)
        padded = np.concatenate([images, np.zeros((self.batch_size - count, *images.shape[1:]), np.uint8)])
        return Features(*(array[:count] for array in self.apply(padded)))


def make_extractor(weights: Weights, batch_size: int) -> Extractor:
    """An extractor for batches of batch_size over the devices of all processes.

    Raises:
      UsageError: the batch cannot be divided evenly among the devices.
    """
    devices.per_device(batch_size, "the batch size of the Inception network (--inception_batch_size)")
    variables = devices.replicate(jax.tree.map(jnp.asarray, weights.variables))
    apply = devices.pmap_sample(lambda variables, images: Inception().apply(variables, preprocess(images)))
    return Extractor(
        devices.local_batch(batch_size), lambda images: devices.join(apply(variables, devices.split(images)))
    )


class Partial(NamedTuple):
    """A partial summary: running sums, and the features and logits kept so far, by batch."""

    sums: frechet.Sums | None = None
    pools: tuple[np.ndarray, ...] = ()
    logits: tuple[np.ndarray, ...] = ()


def add(partial: Partial, features: Features, *, keep: int, keep_logits: bool) -> Partial:
    """Adds a batch's features to float64 sums, whose size does not depend on the number of images.

    Args:
      partial: summary of the previous batches.
      features: pool [N, 2048], logits [N, 1008].
      keep: number of images whose features are kept.
      keep_logits: whether the logits of all images are kept.
    """
    before = partial.sums.count if partial.sums else 0
    pools, logits = partial.pools, partial.logits
    if before < keep:
        pools += (np.asarray(features.pool[: keep - before]),)
    if keep_logits:
        logits += (np.asarray(features.logits),)
    return Partial(frechet.add(partial.sums, np.asarray(features.pool)), pools, logits)


def finish(partial: Partial) -> Summary:
    """The summary of everything added."""
    if partial.sums is None:
        raise UsageError("there are no images to compute features of")
    pool = np.concatenate(partial.pools) if partial.pools else np.zeros((0, partial.sums.total.size), np.float32)
    return Summary(frechet.finish(partial.sums), pool, np.concatenate(partial.logits) if partial.logits else None)


def kept_here(keep: int) -> int:
    """The number of features that each process keeps, so that all processes together keep at least `keep`."""
    return -(-keep // processes.processes()[1])


def join(partial: Partial) -> Partial:
    """Joins the processes' partial summaries into one, the same on every process; each must have seen an image."""
    if partial.sums is None:
        raise UsageError("there are no images to compute features of, or fewer images than processes")
    sums = processes.gather(jax.tree.map(lambda a: np.asarray(a)[None], partial.sums))
    parts = [[np.concatenate(part)] if part else [] for part in (partial.pools, partial.logits)]
    pools, logits = processes.gather(parts)
    total = frechet.Sums(*(a.sum(0) for a in sums))
    return Partial(total._replace(count=int(total.count)), tuple(pools), tuple(logits))


def in_batches(images: Iterable[np.ndarray], batch_size: int) -> Iterator[np.ndarray]:
    """Stacks single images [H, W, C] into batches."""
    batch = []
    for image in images:
        batch.append(image)
        if len(batch) == batch_size:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)


def scores(generated: Summary, reference: Reference) -> dict[str, float]:
    """FID, and KID, precision, recall and the Inception Score if there are enough images for them."""
    result = {"fid": frechet.distance(generated.moments, reference.summary.moments)}
    if generated.logits is not None and len(generated.logits) >= 10:
        score = feature_scores.inception_score(generated.logits)
        result |= {"inception_score": score.mean, "inception_score_std": score.std}
    a, b = generated.pool, reference.summary.pool
    if min(len(a), len(b)) >= 1000:
        result["kid"] = feature_scores.kid(a, b).mean
    if min(len(a), len(b)) > 3:
        result["precision"], result["recall"] = feature_scores.precision_recall(a, b)
    return result


def save_reference(path: Path, reference: Reference) -> None:
    """Writes a reference as plain arrays."""
    moments = reference.summary.moments
    arrays = {
        "mean": moments.mean,
        "covariance": moments.covariance,
        "count": moments.count,
        "pool": reference.summary.pool,
        "provenance": np.array(json.dumps(reference.provenance)),
    }
    files.write(path, lambda file: np.savez(file, **arrays))


def save_partial(path: Path, partial: Partial, provenance: dict[str, Any]) -> None:
    """Writes a partial summary (without logits) as plain arrays, to be resumed later."""
    if partial.sums is None:
        return
    arrays: dict[str, Any] = partial.sums._asdict() | {
        "pool": np.concatenate(partial.pools) if partial.pools else np.zeros((0, 0), np.float32),
        "provenance": np.array(json.dumps(provenance)),
    }
    files.write(path, lambda file: np.savez(file, **arrays))


def load_partial(path: Path, provenance: dict[str, Any]) -> Partial:
    """Reads what `save_partial` wrote; starts from scratch if it is missing or has a different provenance."""
    if not path.exists():
        return Partial()
    try:
        arrays = files.read_arrays(path)
        if json.loads(str(arrays["provenance"])) != json.loads(json.dumps(provenance)):
            _log.warning("%s was computed from other data or options: starting from scratch", path)
            return Partial()
        pool = arrays["pool"]
        sums = frechet.Sums(int(arrays["count"]), arrays["total"], arrays["outer"])
        return Partial(sums, (pool,) if pool.size else ())
    except (UsageError, *files.ARRAY_ERRORS) as error:
        _log.warning("%s cannot be read (%s): starting from scratch", path, error)
        return Partial()


def load_reference(path: Path, weights: Weights, shape: tuple[int, ...]) -> Reference:
    """Reads a reference, which must have been computed with the same weights, resize method and image shape.

    Raises:
      UsageError: no such file, not a reference, or one computed with other weights, resizing or image shapes.
    """
    try:
        arrays = files.read_arrays(path)
        moments = frechet.Moments(arrays["mean"], arrays["covariance"], int(arrays["count"]))
        summary = Summary(moments, arrays["pool"], None)
        provenance = json.loads(str(arrays["provenance"]))
    except (UsageError, *files.ARRAY_ERRORS) as error:
        raise UsageError(f"{path} is not a reference written by bitdiff.reference: {error}") from error
    required = {"inception_sha256": weights.sha256, "resize": RESIZE, "shape": list(shape)}
    for name, value in required.items():
        if provenance.get(name) != value:
            raise UsageError(
                f"{path} was computed with {name} {provenance.get(name)!r}, not {value!r}; compute it again with "
                "bitdiff.reference"
            )
    return Reference(summary, provenance)
