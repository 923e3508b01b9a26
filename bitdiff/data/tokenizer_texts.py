"""The texts a tokenizer is trained on: lines of text files, or captions in COCO's layout."""

import json
from pathlib import Path

from bitdiff.data import tfds
from bitdiff.data.captioned import caption_text
from bitdiff.data.text_lines import read_lines
from bitdiff.runtime.errors import UsageError

_TFDS = "tfds:"


def read_texts(path: Path) -> list[str]:
    """The sentences of a text file, the captions of a `.json` file, or the texts of 'tfds:BUILDER:SPLIT'.

    Raises:
      UsageError: there is no such file or data set, or it has a different layout.
    """
    if str(path).startswith(_TFDS):
        builder, _, split = str(path).removeprefix(_TFDS).partition(":")
        return tfds.read_texts(builder, split or "train")
    if path.suffix != ".json":
        return list(read_lines(path).values())
    try:
        values = [annotation["caption"] for annotation in json.loads(path.read_text(encoding="utf-8"))["annotations"]]
        return [caption_text(value, f"caption {i} of {path}") for i, value in enumerate(values, start=1)]
    except OSError as error:
        raise UsageError(f"--input: {path} cannot be read ({error.strerror})") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not have the layout of COCO's captions ({type(error).__name__}: {error})"
        ) from error
