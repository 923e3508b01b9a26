"""Trains a SentencePiece model: python -m bitdiff.train_tokenizer --input FILE --out coco.model.

An input is a text file, a line a sentence, or a JSON file of captions in COCO's layout; commas separate several.
"""

import json
from pathlib import Path

from absl import flags

from bitdiff import commands, files
from bitdiff.data import tokenizer
from bitdiff.data.captioned import caption_text
from bitdiff.data.text import read_lines
from bitdiff.errors import UsageError


def read(path: Path) -> list[str]:
    """The sentences of an input.

    Raises:
      UsageError: no such file, or not in its layout.
    """
    if path.suffix != ".json":
        return list(read_lines(path).values())
    try:
        values = [annotation["caption"] for annotation in json.loads(path.read_text(encoding="utf-8"))["annotations"]]
        return [caption_text(value, f"caption {i} of {path}") for i, value in enumerate(values, start=1)]
    except OSError as error:
        raise UsageError(f"--input: {path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not in the layout of COCO's captions ({type(error).__name__}: {error})") from error


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("input", None, "Text files, or JSON files of captions.", required=True)
    flags.DEFINE_integer("vocab_size", 32_000, "Pieces, PAD, BOS, EOS and UNK among them.", lower_bound=5)
    flags.DEFINE_enum("kind", "unigram", tokenizer.KINDS, "Of pieces.")
    flags.DEFINE_string("out", "tokenizer.model", "The file to write.")


def main() -> None:
    """The command."""
    out = Path(flags.FLAGS.out)
    if not out.parent.is_dir():
        raise UsageError(f"--out: there is no folder {out.parent}")
    files.check_writable(out)
    texts = [text for path in flags.FLAGS.input for text in read(Path(path))]
    pieces = tokenizer.train(texts, flags.FLAGS.vocab_size, flags.FLAGS.kind)
    parts = [pieces.split(text) for text in texts]
    lengths = sorted(len(part) + 1 for part in parts)
    unknown = sum(part.count(pieces.unk) for part in parts) / sum(map(len, parts))
    files.write(out, lambda file: file.write(pieces.to_bytes()))
    middle, high = lengths[len(lengths) // 2], lengths[int(len(lengths) * 0.99)]
    print(
        f"{pieces.vocab_size} pieces from {len(texts)} texts in {out}; tokens of a text and its end: "
        f"{middle} at the median, {high} at 99 %, {lengths[-1]} at most; "
        f"{unknown:.2%} of the tokens stand for characters that are in no piece"
    )


if __name__ == "__main__":
    define_flags()
    commands.run(main)
