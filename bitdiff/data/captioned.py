"""Pictures with human-written captions: COCO in its official layout, or any folder and JSON files in that layout.

For the official 2017 release, `options.path` holds `annotations/captions_train2017.json`, `train2017/` and the same
for `val2017`; `options.train_split` and `options.test_split` name the two splits.
"""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdiff.data import tokenizer
from bitdiff.data.dataset import Dataset
from bitdiff.data.image_folder import read_image
from bitdiff.data.resizing import check_method
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.runtime.errors import UsageError


class Entry(NamedTuple):
    """A picture's id in the annotations, its file, and its captions."""

    id: int
    file: Path
    captions: tuple[str, ...]


class CaptionedImages:
    """Pictures decoded on access: 'image' uint8 [size, size, 3], 'tokens' int32 [captions, length]."""

    def __init__(self, entries: Sequence[Entry], tokens: np.ndarray, size: int, resize: str):
        self.entries, self._tokens = entries, tokens
        self._size, self._resize = size, resize

    def __len__(self) -> int:
        return len(self.entries)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self.entries[index].file, self._size, 3, self._resize)
        return {"image": image, "tokens": self._tokens[index]}

    def captions(self, index: int) -> list[str]:
        """The captions of a picture, as written."""
        return list(self.entries[index].captions)

    def id(self, index: int) -> int:
        """The picture's COCO id."""
        return self.entries[index].id


def load(options: Any) -> Dataset:
    """Opens both splits and tokenizes all captions.

    Raises:
      UsageError: a file is missing or malformed, a caption is empty or too long, or a size is not set.
    """
    check_method(options.resize)
    pieces = open_tokenizer(options)
    if not options.image_size or options.resize == "none":
        raise UsageError(
            "COCO's pictures vary in size: set config.data.image_size and config.data.resize "
            f"(now {options.image_size} and {options.resize!r})"
        )
    root = Path(options.path).expanduser()
    if not options.path or not root.is_dir():
        raise UsageError(
            f"config.data.path: there is no folder {str(options.path)!r}; it must contain annotations/, train2017/ "
            "and val2017/ (on cocodataset.org: annotations_trainval2017, train2017 and val2017)"
        )

    def open_split(name):
        entries = read_annotations(root / "annotations" / f"captions_{name}.json", root / name)
        texts = [entry.captions for entry in entries]
        names = [f"{entry.file.name} in {name}" for entry in entries]
        tokens = tokenize(texts, names, pieces, options)
        tokenizer.warn_of_unknown(tokens, pieces, f"the captions of {name}")
        return CaptionedImages(entries, tokens, options.image_size, options.resize)

    splits = options.train_split, options.test_split
    return Dataset(
        field="captions",
        train=open_split(splits[0]),
        test=open_split(splits[1]),
        shape=(options.image_size, options.image_size, 3),
        vocab_size=pieces.vocab_size,
        num_classes=0,
        class_names=(),
        about=f"captions {splits[0]} / {splits[1]} of {root.resolve()}, {options.image_size} pixels, {options.resize}",
        length=options.length,
        tokenizer=pieces,
    )


def open_tokenizer(options: Any) -> Tokenizer:
    """The SentencePiece model that a config's data section names.

    Raises:
      UsageError: no usable model is named, or `length` or `captions` is not set.
    """
    if not options.tokenizer:
        raise UsageError("config.data.tokenizer is empty; train a model with: python -m bitdiff.train_tokenizer")
    if options.length < 2 or options.captions < 1:
        raise UsageError(
            f"config.data.length is {options.length} and config.data.captions is {options.captions}; they must be at "
            "least 2 (tokens per caption) and 1 (captions per picture)"
        )
    return tokenizer.load(options.tokenizer)


def tokenize(texts: Sequence[Sequence[str]], names: Sequence[str], pieces: Tokenizer, options: Any) -> np.ndarray:
    """Tokenizes the first captions, repeated if too few: int32 [pictures, options.captions, options.length].

    Raises:
      UsageError: a picture has no caption, or one is empty or too long; `names` identifies the picture.
    """
    tokens = np.zeros((len(texts), options.captions, options.length), np.int32)
    for row, some, name in zip(tokens, texts, names, strict=True):
        if not some:
            raise UsageError(f"{name} has no caption")
        for i in range(options.captions):
            try:
                row[i] = pieces.encode(some[i % len(some)], options.length, cut=options.cut)
            except UsageError as error:
                raise UsageError(f"a caption of {name}: {error}") from error
    return tokens


def caption_text(value: Any, name: str) -> str:
    """A caption from an annotations file, stripped of surrounding whitespace; `name` identifies it in the message.

    Raises:
      UsageError: it is not text.
    """
    if not isinstance(value, str):
        raise UsageError(f"{name} is {value!r}; it must be a string")
    return value.strip()


def read_annotations(path: Path, folder: Path) -> list[Entry]:
    """The pictures of an annotations file, sorted by id.

    Raises:
      UsageError: the file is missing or has a different layout, or a picture is not in the folder.
    """
    if not path.is_file():
        raise UsageError(f"there is no annotations file {path}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pictures = [(int(image["id"]), str(image["file_name"])) for image in content["images"]]
        captions = [(int(annotation["image_id"]), annotation["caption"]) for annotation in content["annotations"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f"{path} does not have the layout of COCO's captions ({type(error).__name__}: {error})"
        ) from error
    if not pictures:
        raise UsageError(f"{path} lists no pictures")
    files = dict(pictures)
    if len(files) < len(pictures):
        repeated = [number for number, times in Counter(number for number, _ in pictures).items() if times > 1]
        raise UsageError(f"{path} repeats picture ids: {repeated[:3]}")
    texts: dict[int, list[str]] = {number: [] for number in files}
    for number, text in captions:
        if number not in texts:
            raise UsageError(f"{path} has a caption for picture {number}, which is not among its pictures")
        texts[number].append(caption_text(text, f"a caption of picture {number} in {path}"))
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}")
    there = {file.name for file in folder.iterdir()}
    missing = [name for name in files.values() if Path(name).name not in there or Path(name).name != name]
    if missing:
        raise UsageError(f"{path} lists {len(files)} pictures; {len(missing)} are not in {folder}: {missing[:3]}")
    return [Entry(number, folder / files[number], tuple(texts[number])) for number in sorted(files)]
