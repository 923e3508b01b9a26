"""The texts a tokenizer is trained on: lines of text files, or captions in COCO's layout."""

import json
from pathlib import Path

from bitdiff.data.captioned import caption_text
from bitdiff.data.text_lines import read_lines
from bitdiff.runtime.errors import UsageError


def read_texts(path: Path) -> list[str]:
    """The sentences of a text file, or the captions of a `.json` file.

    Raises:
      UsageError: there is no such file, or it has a different layout.
    """
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
