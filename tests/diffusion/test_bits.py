import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bitdiff.diffusion import bits
from bitdiff.runtime.errors import UsageError


def test_bits_are_least_significant_first():
    assert bits.int_to_bits(6, 4).tolist() == [0, 1, 1, 0]
    x = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(bits.int_to_bits(x, 8), np.unpackbits(x[:, None], axis=1, bitorder="little"))
    np.testing.assert_array_equal(bits.bits_to_int(bits.int_to_bits(x, 8)), x)
    assert bits.bits_to_int(jnp.array([True, False, True])) == 5
    assert bits.bits_to_int(bits.int_to_bits(2**31 - 1, 31)) == 2**31 - 1


@pytest.mark.parametrize("encoding", bits.ENCODINGS)
@pytest.mark.parametrize("vocab_size", [2, 3, 17, 256, 1000])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_every_codec_round_trips_its_whole_vocabulary(encoding, vocab_size, scale):
    codec = bits.make_codec(encoding, vocab_size, scale)
    x = np.arange(vocab_size).reshape(-1, 1)
    analog = codec.encode(x)
    assert analog.shape == (vocab_size, codec.num_bits)
    assert analog.dtype == jnp.float32
    assert codec.num_bits == (vocab_size if encoding == "one_hot" else int(np.ceil(np.log2(vocab_size))))
    assert set(np.unique(analog)) == {-scale, scale}
    np.testing.assert_array_equal(codec.decode(analog), x)
    np.testing.assert_array_equal(jax.jit(codec.decode)(jax.jit(codec.encode)(x)), x)
    assert codec.decode(analog).dtype == jnp.int32
    assert not codec.invalid(analog).any()


def test_lists_are_accepted_like_arrays():
    assert bits.int_to_bits([5, 3], 3).tolist() == [[1, 0, 1], [1, 1, 0]]
    assert bits.bits_to_int([1, 0, 1]) == 5
    assert bits.make_codec("uint", 4).encode([1, 2]).tolist() == [1, -1, -1, 1]


def test_channels_are_encoded_one_after_another():
    codec = bits.make_codec("uint", 256)
    image = np.array([[[1, 2, 128]]])
    expected = np.concatenate([bits.int_to_bits(v, 8) for v in (1, 2, 128)]) * 2 - 1
    np.testing.assert_array_equal(codec.encode(image)[0, 0], expected)


def test_gray_neighbors_differ_in_one_bit():
    codes = np.asarray(bits.make_codec("gray", 256).encode(np.arange(256)[:, None]))
    assert (np.sum(codes[1:] != codes[:-1], axis=1) == 1).all()


def test_uint_rand_is_the_papers_permutation():
    codec = bits.make_codec("uint_rand", 256)
    permutation = bits.bits_to_int(codec.encode(np.arange(256)[:, None]) > 0)
    assert permutation[:6].tolist() == [228, 6, 79, 206, 117, 185]
    assert sorted(permutation.tolist()) == list(range(256))


@pytest.mark.parametrize(("encoding", "expected"), [("uint", 0.324), ("gray", 0.324), ("uint_rand", -0.007)])
def test_correlation_of_hamming_and_intensity_distance(encoding, expected):
    codes = np.asarray(bits.make_codec(encoding, 256).encode(np.arange(256)[:, None])) > 0
    pairs = np.array(list(itertools.combinations(range(256), 2)))
    hamming = np.sum(codes[pairs[:, 0]] != codes[pairs[:, 1]], axis=1)
    correlation = np.corrcoef(hamming, np.abs(pairs[:, 0] - pairs[:, 1]))[0, 1]
    assert correlation == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize("encoding", ["uint", "gray", "uint_rand"])
@pytest.mark.parametrize("vocab_size", [3, 5, 17, 23, 255])
def test_decoding_finds_the_nearest_valid_code(encoding, vocab_size):
    codec = bits.make_codec(encoding, vocab_size)
    analog = np.random.RandomState(0).normal(size=(2000, codec.num_bits)).astype(np.float32)
    codes = np.asarray(codec.encode(np.arange(vocab_size)[:, None]))
    distances = ((analog[:, None] - codes) ** 2).sum(-1)
    np.testing.assert_array_equal(codec.decode(analog)[:, 0], distances.argmin(1))
    thresholded = {tuple(code) for code in codes > 0}
    expected = [tuple(row) not in thresholded for row in analog > 0]
    np.testing.assert_array_equal(codec.invalid(analog)[:, 0], expected)
    assert 0 < np.mean(expected) < 1


def test_one_hot_codes_without_exactly_one_set_bit_are_invalid():
    codec = bits.make_codec("one_hot", 3)
    analog = jnp.array([[1.0, -1, -1], [1, 0.5, -1], [-1, -0.5, -1]])
    assert codec.invalid(analog)[:, 0].tolist() == [False, True, True]
    assert codec.decode(analog)[:, 0].tolist() == [0, 0, 1]


@pytest.mark.parametrize("vocab_size", [2, 17, 256])
def test_the_continuous_baseline_round_trips(vocab_size):
    codec = bits.continuous_codec(vocab_size, 0.5)
    x = np.arange(vocab_size)[:, None]
    analog = codec.encode(x)
    assert (float(analog.min()), float(analog.max())) == (-0.5, 0.5)
    np.testing.assert_array_equal(codec.decode(analog), x)
    np.testing.assert_array_equal(codec.decode(analog + 0.4 / (vocab_size - 1)), x)  # decodes to the nearest value
    assert codec.decode(jnp.array([-9.0, 9.0])).tolist() == [0, vocab_size - 1]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bits.make_codec("grey"), "unknown encoding 'grey'; valid names are: uint, gray, uint_rand, one_hot"),
        (lambda: bits.make_codec("uint", 1), "vocab_size is 1"),
        (lambda: bits.make_codec("uint", 8, 0.0), "scale is 0.0"),
        (lambda: bits.int_to_bits(300, 8), "values range from 300 to 300; 8 bits can represent 0 to 255"),
        (lambda: bits.int_to_bits(-1, 8), "values range from -1"),
        (lambda: bits.int_to_bits(1.5, 8), "expected integers"),
        (lambda: bits.int_to_bits(1, 32), "num_bits is 32"),
        (lambda: bits.make_codec("gray", 17).encode(np.array([[17]])), "a vocabulary of 17 can represent 0 to 16"),
        (lambda: bits.make_codec("uint", 17).decode(jnp.zeros((2, 7))), "must be a multiple of 5"),
    ],
)
def test_bad_input_is_reported(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@pytest.mark.parametrize("values", [["a"], [{}], [None]])
def test_what_is_no_number_is_refused(values):
    with pytest.raises(UsageError, match="expected integers, got an array of"):
        bits.make_codec("uint").encode(values)
