"""Trains a SentencePiece model: python -m bitdiff.train_tokenizer --input FILE --out coco.model.

An input is a text file with one sentence per line, a JSON file of captions in COCO's format, or a prepared TFDS data
set with texts, as in tfds:lm1b:train[:1%]; several inputs are separated by commas.
"""

from pathlib import Path

from absl import flags

from bitdiff.cli import command
from bitdiff.data import tokenizer
from bitdiff.data.tokenizer_texts import read_texts
from bitdiff.runtime import files
from bitdiff.runtime.errors import UsageError


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("input", None, "Text files, JSON files of captions, or tfds:BUILDER:SPLIT.", required=True)
    flags.DEFINE_integer("vocab_size", 32_000, "Number of pieces, including PAD, BOS, EOS and UNK.", lower_bound=5)
    flags.DEFINE_enum("kind", "unigram", tokenizer.KINDS, "Kind of pieces.")
    flags.DEFINE_string("out", "tokenizer.model", "The file to write.")


def main() -> None:
    """Runs the command."""
    out = Path(flags.FLAGS.out)
    if not out.parent.is_dir():
        raise UsageError(f"--out: there is no folder {out.parent}")
    files.check_writable(out)
    texts = [text for path in flags.FLAGS.input for text in read_texts(Path(path))]
    pieces = tokenizer.train(texts, flags.FLAGS.vocab_size, flags.FLAGS.kind)
    parts = [pieces.split(text) for text in texts]
    lengths = sorted(len(part) + 1 for part in parts)
    unknown = sum(part.count(pieces.unk) for part in parts) / sum(map(len, parts))
    files.write(out, lambda file: file.write(pieces.to_bytes()))
    median, high = lengths[len(lengths) // 2], lengths[int(len(lengths) * 0.99)]
    print(
        f"wrote {out}: {pieces.vocab_size} pieces from {len(texts)} texts; a text has {median} tokens (median, "
        f"including EOS), {high} at the 99th percentile, {lengths[-1]} at most; {unknown:.2%} of the tokens are UNK"
    )


if __name__ == "__main__":
    define_flags()
    command.run(main)
