"""TensorFlow Datasets (TFDS), read from random-access files (ArrayRecord) without TensorFlow."""

from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
from PIL import Image

from bitdiff.data import tokenizer
from bitdiff.data.captioned import open_tokenizer, tokenize
from bitdiff.data.dataset import Dataset
from bitdiff.data.resizing import check_method, check_size, to_pixels
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.runtime.errors import UsageError


class TfdsImages:
    """A split as 'image' uint8 [size, size, channels] and, if labeled, 'label'."""

    def __init__(self, source: Any, *, size: int, channels: int, resize: str, labelled: bool):
        self._source, self._labelled = source, labelled
        self._size, self._channels, self._resize = size, channels, resize

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.prepare(index, self._source[index])

    def prepare(self, index: int, example: dict[str, Any]) -> dict[str, Any]:
        """Resizes a TFDS example."""
        image = np.asarray(example["image"])
        check_size(f"example {index}", image.shape[1], image.shape[0], self._size, self._resize)
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        pixels = to_pixels(picture, self._size, self._channels, self._resize)
        return {"image": pixels} | ({"label": np.int32(example["label"])} if self._labelled else {})


class TfdsCaptions(TfdsImages):
    """A split of `coco_captions`: 'image' and 'tokens' int32 [captions, length], tokenized on access."""

    def __init__(self, source: Any, pieces: Tokenizer, options: Any, **form: Any):
        super().__init__(source, labelled=False, **form)
        self._pieces, self._options = pieces, options

    def prepare(self, index: int, example: dict[str, Any]) -> dict[str, Any]:
        """Resizes and tokenizes a TFDS example."""
        tokens = tokenize([_texts(example)], [f"example {index}"], self._pieces, self._options)
        return super().prepare(index, example) | {"tokens": tokens[0]}

    def captions(self, index: int) -> list[str]:
        """The captions of a picture, as written."""
        return _texts(self._source[index])

    def id(self, index: int) -> int:
        """The picture's COCO id."""
        return int(self._source[index]["image/id"])


class TfdsText:
    """A split of a data set with 'text', such as `lm1b`: 'tokens' int32 [length], tokenized on access."""

    def __init__(self, source: Any, pieces: Tokenizer, options: Any):
        self._source, self._pieces, self._options = source, pieces, options

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.prepare(index, self._source[index])

    def prepare(self, index: int, example: dict[str, Any]) -> dict[str, Any]:
        """Tokenizes a TFDS example."""
        try:
            tokens = self._pieces.encode(_text(example["text"]), self._options.length, cut=self._options.cut)
        except UsageError as error:
            raise UsageError(f"example {index}: {error}") from error
        return {"tokens": tokens}


def _text(value: Any) -> str:
    return (value.decode() if isinstance(value, bytes) else str(value)).strip()


def _texts(example: dict[str, Any]) -> list[str]:
    return [_text(text) for text in example["captions"]["text"]]


def read_texts(builder_name: str, split: str) -> list[str]:
    """The texts of a split of a prepared data set with 'text', to train a tokenizer on.

    Raises:
      UsageError: there is no such builder or split, it is not prepared, or it holds no text.
    """
    options = ml_collections.ConfigDict({"builder": builder_name, "path": ""})
    builder = _prepared(options)
    if "text" not in builder.info.features:
        raise UsageError(f"{builder.info.full_name} holds no text; it has {', '.join(builder.info.features)}")
    source = _open(builder, split)
    return [_text(source[i]["text"]) for i in range(len(source))]


def make_builder(options: Any) -> Any:
    """The TFDS builder of a config's `data` section; `data.path` is TFDS's data_dir, or empty for the default.

    Raises:
      UsageError: TFDS is not installed, or has no such data set.
    """
    try:
        import tensorflow_datasets as tfds
    except ImportError as error:
        raise UsageError("TFDS data sets require tensorflow-datasets: pip install 'bitdiff[tfds]'") from error
    try:
        return tfds.builder(options.builder, data_dir=options.path or None)
    except ImportError:  # some builders import TensorFlow although reading prepared files does not need it
        root = Path(options.path or tfds.core.constants.DATA_DIR).expanduser()
        found = sorted(path.parent for path in (root / options.builder).glob("**/dataset_info.json"))
        if not found:
            raise UsageError(
                f"{options.builder} is not prepared in {root}, and preparing it requires TensorFlow: pip install "
                "tensorflow-cpu and run python -m bitdiff.prepare with the same --config; then remove TensorFlow"
            ) from None
        return tfds.builder_from_directory(str(found[-1]))
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise UsageError(f"config.data.builder: TFDS has no {options.builder!r}: {first}") from error


def load(options: Any) -> Dataset:
    """Opens the splits options.train_split and options.test_split of options.builder.

    Raises:
      UsageError: the builder or split is unknown, or the data set has not been prepared.
    """
    check_method(options.resize)
    builder = _prepared(options)
    features = builder.info.features
    if "text" in features:
        return _load_text(builder, options)
    shape = features["image"].shape
    size = options.image_size or shape[0]
    channels = options.channels or shape[2]
    if not size:
        raise UsageError(
            f"{builder.info.full_name} holds images of many sizes: set config.data.image_size and config.data.resize"
        )
    labelled = "label" in features
    pieces = open_tokenizer(options) if "captions" in features else None

    def open_split(split):
        source = _open(builder, split)
        if pieces:
            return TfdsCaptions(source, pieces, options, size=size, channels=channels, resize=options.resize)
        return TfdsImages(source, size=size, channels=channels, resize=options.resize, labelled=labelled)

    return Dataset(
        field="captions" if pieces else "image",
        train=open_split(options.train_split),
        test=open_split(options.test_split),
        shape=(size, size, channels),
        vocab_size=pieces.vocab_size if pieces else 256,
        num_classes=features["label"].num_classes if labelled else 0,
        class_names=tuple(features["label"].names) if labelled else (),
        about=f"TFDS {builder.info.full_name}, {options.train_split} / {options.test_split}, resize {options.resize}",
        length=options.length if pieces else 0,
        tokenizer=pieces,
    )


def _prepared(options: Any) -> Any:
    builder = make_builder(options)
    if not builder.is_prepared():
        raise UsageError(
            f"{builder.info.full_name} is not prepared in {builder.data_dir}; "
            "run python -m bitdiff.prepare with the same --config"
        )
    return builder


def _open(builder: Any, split: str) -> Any:
    try:
        return builder.as_data_source(split=split)
    except (ValueError, KeyError, NotImplementedError) as error:  # NotImplementedError: no random access
        raise UsageError(f"split {split!r} of {builder.info.full_name} cannot be read: {error}") from error


def _load_text(builder: Any, options: Any) -> Dataset:
    if options.length < 2 or not options.tokenizer:
        raise UsageError(
            f"config.data.length is {options.length} and config.data.tokenizer {options.tokenizer!r}; the "
            "length must be at least 2, and the tokenizer a SentencePiece model: train one with python -m "
            "bitdiff.train_tokenizer"
        )
    pieces = tokenizer.load(options.tokenizer)
    train, test = (
        TfdsText(_open(builder, split), pieces, options) for split in (options.train_split, options.test_split)
    )
    return Dataset(
        field="tokens",
        train=train,
        test=test,
        shape=(options.length,),
        vocab_size=pieces.vocab_size,
        num_classes=0,
        class_names=(),
        about=f"TFDS {builder.info.full_name}, {options.train_split} / {options.test_split}, {options.length} tokens",
        tokenizer=pieces,
    )
