import numpy as np
import pytest

from bitdiff.data import tokenizer
from bitdiff.runtime.errors import UsageError

TEXTS = ["a cat sat on a mat", "the dog ran", "a dog sat on the cat", "the mat ran on and on"]


@pytest.mark.parametrize(("kind", "size"), [("unigram", 19), ("bpe", 30), ("word", 50), ("char", 50)])
def test_text_round_trips(kind, size):
    pieces = tokenizer.train(TEXTS, size, kind)
    assert pieces.vocab_size <= size
    assert (pieces.pad, pieces.bos, pieces.eos) == (0, 1, 2)
    for text in TEXTS:
        tokens = pieces.encode(text, 40)
        assert tokens.dtype == np.int32
        end = tokens.tolist().index(pieces.eos)
        assert (tokens[end + 1 :] == pieces.pad).all()
        assert pieces.pad not in tokens[:end]
        assert pieces.decode(tokens) == text


def test_training_is_deterministic_and_a_saved_model_loads_again(tmp_path):
    pieces = tokenizer.train(TEXTS, 19)
    assert pieces.fingerprint() == tokenizer.train(TEXTS, 19).fingerprint()
    assert pieces.fingerprint() != tokenizer.train(TEXTS[:3], 17).fingerprint()
    (tmp_path / "some.model").write_bytes(pieces.to_bytes())
    assert tokenizer.load(tmp_path / "some.model").fingerprint() == pieces.fingerprint()


def test_decoding_skips_special_pieces_and_everything_after_the_end():
    pieces = tokenizer.train(TEXTS, 50, "word")
    cat, dog = (int(pieces.encode(word, 2)[0]) for word in ("cat", "dog"))
    assert pieces.decode([pieces.pad, cat, pieces.bos, dog, pieces.eos, cat]) == "cat dog"
    assert pieces.decode([]) == ""


def test_texts_that_are_too_long_are_cut_or_refused():
    pieces = tokenizer.train(TEXTS, 50, "word")
    assert pieces.encode(TEXTS[0], 7)[-1] == pieces.eos
    with pytest.raises(UsageError, match=r"has 6 tokens plus EOS, but config.data.length is 6: 'a cat sat on a mat'"):
        pieces.encode(TEXTS[0], 6)
    cut = pieces.encode(TEXTS[0], 6, cut=True)
    assert pieces.decode(cut) == "a cat sat on a"
    assert cut[-1] == pieces.eos
    with pytest.raises(UsageError, match="empty"):
        pieces.encode("  ", 6)
    with pytest.raises(UsageError, match="outside the vocabulary"):
        pieces.decode([pieces.vocab_size])


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_few_texts_give_a_smaller_vocabulary(kind, caplog):
    pieces = tokenizer.train(TEXTS, 32_000, kind)
    assert 10 < pieces.vocab_size < 100
    assert f"yield a vocabulary of only {pieces.vocab_size} pieces, not 32000" in caplog.text
    assert pieces.decode(pieces.encode(TEXTS[0], 40)) == TEXTS[0]


def test_long_lines_are_used_and_unknown_characters_are_reported(caplog):
    pieces = tokenizer.train([" ".join(TEXTS * 100)], 19)  # longer than SentencePiece accepts by default
    tokens = pieces.encode("a cat \N{CAT}", 40)
    assert (tokens == pieces.unk).sum() == 1
    tokenizer.warn_of_unknown(tokens, pieces, "some text")
    assert f"some text: 1 of {(tokens != pieces.pad).sum()} tokens are UNK" in caplog.text


def test_bad_models_are_reported(tmp_path):
    with pytest.raises(UsageError, match="there is no SentencePiece model"):
        tokenizer.load(tmp_path / "none.model")
    (tmp_path / "bad.model").write_bytes(b"something else")
    with pytest.raises(UsageError, match="is not a SentencePiece model"):
        tokenizer.load(tmp_path / "bad.model")
    (tmp_path / "empty.model").write_bytes(b"")
    with pytest.raises(UsageError, match=r"empty.model"):
        tokenizer.load(tmp_path / "empty.model")
    with pytest.raises(UsageError, match="cannot train a unigram model of 6 pieces"):
        tokenizer.train(TEXTS, 6)
    with pytest.raises(UsageError, match="there is no text"):
        tokenizer.train([" "], 10)
    with pytest.raises(UsageError, match="unknown kind of pieces"):
        tokenizer.train(TEXTS, 10, "words")


def test_a_model_needs_no_bos_piece():
    """T5 has the special pieces PAD 0, EOS 1 and UNK 2, but no BOS."""
    import io

    import sentencepiece

    model = io.BytesIO()
    ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=18, minloglevel=2, **ids
    )
    pieces = tokenizer.Tokenizer(model.getvalue(), "t5.model")
    tokens = pieces.encode(TEXTS[0], 40)
    assert pieces.decode(tokens) == TEXTS[0]
    assert tokens[-1] == pieces.pad == 0


def test_a_model_without_padding_is_refused():
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS), model_writer=model, vocab_size=18, minloglevel=2
    )
    with pytest.raises(
        UsageError,
        match=r"old.model has no pad piece; .* python -m bitdiff.train_tokenizer, or with spm_train and --pad_id=0",
    ):
        tokenizer.Tokenizer(model.getvalue(), "old.model")


@pytest.mark.parametrize(
    ("texts", "is_word"),
    [
        (["the dog sees a cat", "a cat sees the dog"] * 20, True),
        ([f"CC(=O)N{i}" for i in range(60)], False),  # formulas: no spaces
        ([f"name{i} word{i}" for i in range(60)], False),  # every word occurs once
    ],
)
def test_auto_chooses_words_only_where_words_repeat(texts, is_word):
    pieces = tokenizer.train(texts, 200, "auto")
    words = tokenizer.train(texts, 200, "word")
    assert (pieces.vocab_size == words.vocab_size) is is_word
