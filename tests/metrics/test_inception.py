"""Inception against torch-fidelity 0.4.0, whose features for the same images and weights are stored here.

`golden/inception.npz` holds the first 256 features and 128 logits of one random image per size, computed by
torch-fidelity's 'inception-v3-compat' with the weights of `weight` below.
"""

import signal
import zlib
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from bitdiff import data, reference
from bitdiff.metrics import fid, inception, inception_weights
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.interrupts import StopSignals

GOLDEN = np.load(Path(__file__).parent / "golden" / "inception.npz")
SIZES = (32, 64, 299, 480)


def weight(name, shape):
    """A pseudo-random weight for a PyTorch name and shape."""
    rng = np.random.RandomState(zlib.crc32(name.encode()))
    if name.endswith("conv.weight"):
        return rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
    if name.endswith("fc.weight"):
        return rng.normal(size=shape) / np.sqrt(shape[1])
    if name.endswith(("bn.weight", "running_var")):
        return rng.uniform(0.5, 1.5, shape)
    return 0.1 * rng.normal(size=shape)


def torch_state():
    """The state dict of the PyTorch network, derived from the shapes of ours."""
    x = jax.ShapeDtypeStruct((1, 299, 299, 3), jnp.float32)
    shapes = traverse_util.flatten_dict(jax.eval_shape(inception.Inception().init, jax.random.key(0), x))
    kinds = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
    state = {}
    for (_, *layers, kind), leaf in shapes.items():
        shape = tuple(leaf.shape[i] for i in {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[len(leaf.shape)])
        name = ".".join((*layers, kinds[kind]))
        state[name] = np.asarray(weight(name, shape), np.float32)
    return state | {"fc.bias": np.ones(1008, np.float32)}


@pytest.fixture(scope="module")
def variables():
    return inception_weights.from_torch(torch_state())


def images():
    rng = np.random.RandomState(0)
    return {size: rng.randint(0, 256, (1, size, size, 3), np.uint8) for size in SIZES}


def features(variables, x):
    # Compiled without optimizations, as in the other tests, the plain convolutions would take minutes.
    apply = jax.jit(inception.Inception().apply, compiler_options={"xla_backend_optimization_level": 2})
    return apply(variables, x)


def relative(a, b):
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


@pytest.mark.slow
def test_features_equal_torch_fidelitys(variables):
    x = jnp.concatenate([inception.preprocess(image) for image in images().values()])
    result = features(variables, x)
    for i, size in enumerate(SIZES):
        assert relative(result.pool[i, :256], GOLDEN[f"pool_{size}"][:256]) < 1e-4
        assert relative(result.logits[i, :128], GOLDEN[f"logits_{size}"][:128]) < 1e-4


@pytest.mark.slow
def test_another_resize_method_changes_the_features(variables):
    image = images()[32]
    for antialias, size in ((False, 32), (True, 480)):
        resized = jax.image.resize(images()[size].astype(jnp.float32), (1, 299, 299, 3), "linear", antialias=antialias)
        result = features(variables, (resized - 128) / 128)
        assert relative(result.pool[0, :256], GOLDEN[f"pool_{size}"]) > 1e-3
    assert inception.preprocess(image).shape == (1, 299, 299, 3)


@pytest.mark.slow
def test_another_pooling_changes_the_features(variables, monkeypatch):
    monkeypatch.setattr(inception, "_mean_pool", nn.avg_pool)  # counts the padding
    result = features(variables, inception.preprocess(images()[64]))
    assert relative(result.pool[0, :256], GOLDEN["pool_64"]) > 1e-3


def test_weights_are_stored_as_plain_arrays(tmp_path):
    state = torch_state()
    np.savez(tmp_path / "w.npz", sha256=np.array("abc"), **state)
    loaded = inception_weights.load(tmp_path / "w.npz")
    assert loaded.sha256 == "abc"
    kernel = loaded.variables["params"]["Mixed_6b"]["branch7x7_2"]["conv"]["kernel"]
    np.testing.assert_array_equal(kernel[0, 3], state["Mixed_6b.branch7x7_2.conv.weight"][:, :, 0, 3].T)
    assert "bias" not in loaded.variables["params"]["fc"]


def test_wrong_weight_files_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"there is no file .*pt_inception-2015-12-05-6726825d.pth"):
        inception_weights.convert(tmp_path / "none.pth", tmp_path / "w.npz")
    (tmp_path / "other.pth").write_bytes(b"something else")
    with pytest.raises(UsageError, match=r"is not the file .*its SHA-256 begins"):
        inception_weights.convert(tmp_path / "other.pth", tmp_path / "w.npz")
    with pytest.raises(UsageError, match="holds no converted Inception weights"):
        inception_weights.load(tmp_path / "other.pth")


def summarize(batches, extract, *, keep, keep_logits=True):
    partial = fid.Partial()
    for images in batches:
        partial = fid.add(partial, extract(images), keep=keep, keep_logits=keep_logits)
    return fid.finish(fid.join(partial))


def test_summaries_are_streamed_and_references_keep_their_provenance(tmp_path, monkeypatch):
    """Covers the plumbing around the network, with a network small enough to process many images."""

    class Small(nn.Module):
        @nn.compact
        def __call__(self, x):
            pool = x[:, ::50, ::50].reshape(len(x), -1)
            return inception.Features(pool, pool[:, :20])

    monkeypatch.setattr(fid, "Inception", Small)
    w = inception_weights.Weights({}, "abc")
    extract = fid.make_extractor(w, 8)
    pictures = np.random.RandomState(0).randint(0, 256, (30, 16, 16, 3), np.uint8)
    expected = np.asarray(inception.preprocess(jnp.asarray(pictures)))[:, ::50, ::50].reshape(30, -1)
    whole = summarize(fid.in_batches(pictures, 8), extract, keep=12)
    np.testing.assert_allclose(whole.pool, expected[:12], atol=1e-5)
    np.testing.assert_allclose(whole.logits, expected[:, :20], atol=1e-5)
    np.testing.assert_allclose(whole.moments.mean, expected.mean(0), atol=1e-5)
    np.testing.assert_allclose(whole.moments.covariance, np.cov(expected, rowvar=False), atol=1e-4)

    source = data.dataset.Arrays({"image": pictures})
    dataset = data.Dataset("image", source, source, (16, 16, 3), 256, 0, (), "thirty pictures")
    partial = tmp_path / "r.progress.npz"
    made = reference.make_reference(dataset, w, batch_size=8, keep=10, partial_path=partial, stop=StopSignals())
    fid.save_reference(tmp_path / "r.npz", made)
    loaded = fid.load_reference(tmp_path / "r.npz", w, (16, 16, 3))
    assert loaded.provenance == made.provenance
    assert loaded.provenance["data"] == "thirty pictures"
    assert loaded.provenance["count"] == 30
    np.testing.assert_allclose(loaded.summary.pool, expected[::3], atol=1e-5)  # spread evenly over the data
    result = fid.scores(whole, loaded)
    assert result["fid"] == pytest.approx(0, abs=1e-6)
    assert set(result) == {"fid", "inception_score", "inception_score_std", "precision", "recall"}
    with pytest.raises(UsageError, match="was computed with inception_sha256 'abc', not 'other'"):
        fid.load_reference(tmp_path / "r.npz", inception_weights.Weights({}, "other"), (16, 16, 3))
    with pytest.raises(UsageError, match=r"was computed with shape \[16, 16, 3\], not \[32, 32, 3\]"):
        fid.load_reference(tmp_path / "r.npz", w, (32, 32, 3))
    for damage in (b"", (tmp_path / "r.npz").read_bytes()[:1000]):
        (tmp_path / "damaged.npz").write_bytes(damage)
        with pytest.raises(UsageError, match="is not a reference"):
            fid.load_reference(tmp_path / "damaged.npz", w, (16, 16, 3))
    with pytest.raises(UsageError, match="is not a reference"):
        fid.load_reference(tmp_path / "none.npz", w, (16, 16, 3))
    gray = summarize([pictures[..., :1]], fid.make_extractor(w, 30), keep=0, keep_logits=False)
    assert gray.pool.shape == (0, expected.shape[1])
    assert gray.logits is None
    with pytest.raises(UsageError, match="FID is defined for 8-bit images"):
        reference.make_reference(
            dataset._replace(vocab_size=17), w, batch_size=8, keep=1, partial_path=partial, stop=StopSignals()
        )


def test_a_resumed_reference_equals_an_uninterrupted_one(tmp_path, monkeypatch):
    taken = []

    def make_extractor(weights, batch_size):
        def apply(images):
            taken.append(len(images))
            if len(taken) == 2:
                signal.raise_signal(signal.SIGTERM)
            flat = images.reshape(len(images), -1).astype(np.float32)
            return inception.Features(flat, flat)

        return fid.Extractor(batch_size, apply)

    monkeypatch.setattr(fid, "make_extractor", make_extractor)
    source = data.dataset.Arrays({"image": np.random.RandomState(0).randint(0, 256, (30, 2, 2, 3), np.uint8)})
    dataset = data.Dataset("image", source, source, (2, 2, 3), 256, 0, (), "thirty")
    w, partial = inception_weights.Weights({}, "abc"), tmp_path / "r.progress.npz"
    arguments = {"batch_size": 8, "keep": 10, "partial_path": partial}
    with StopSignals() as stop:
        assert reference.make_reference(dataset, w, **arguments, stop=stop) is None
    assert stop.received == signal.SIGTERM
    arguments["stop"] = StopSignals()
    assert taken == [8, 8]
    made = reference.make_reference(dataset, w, **arguments)
    assert taken == [8] * 4
    whole = reference.make_reference(dataset, w, **arguments | {"partial_path": tmp_path / "none"})
    np.testing.assert_array_equal(made.summary.pool, whole.summary.pool)
    np.testing.assert_allclose(made.summary.moments.covariance, whole.summary.moments.covariance, rtol=1e-12)
    # A partial reference of other data is not resumed.
    reference.make_reference(dataset._replace(about="others"), w, **arguments)
    assert taken == [8] * 12
