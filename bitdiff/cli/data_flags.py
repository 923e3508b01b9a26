"""The flags of commands that compare samples with data, read into a typed request."""

from pathlib import Path
from typing import NamedTuple

from absl import flags

from bitdiff.data import Dataset
from bitdiff.evaluation.judge import Judge, open_judge
from bitdiff.evaluation.scores import open_data
from bitdiff.inference.trained import Trained


class DataRequest(NamedTuple):
    """The data to compare with, and what FID is computed with."""

    path: str | None
    tokenizer: str | None
    inception: Path | None
    reference: Path | None
    inception_batch_size: int
    candidates: int | None

    def open(self, run: Trained) -> tuple[Trained, Dataset]:
        """A run with the request's options in its config, and its data set."""
        return open_data(run, self.path, self.tokenizer, self.candidates)

    def open_judge(self, run: Trained) -> Judge | None:
        """What the FID of a run's samples is computed with, or None."""
        return open_judge(run, self.inception, self.reference, self.inception_batch_size)


def define_data_flags() -> None:
    """Defines the flags of `read_data`."""
    flags.DEFINE_string("data_path", None, "Where the data are now; by default the config's path.")
    flags.DEFINE_string(
        "tokenizer", None, "How captions are split into words: none or treebank; by default the config's."
    )
    flags.DEFINE_integer(
        "candidates",
        None,
        "Captions sampled per picture, of which the one that agrees best with the others is scored; by default the "
        "config's.",
        lower_bound=1,
        upper_bound=1024,
    )
    flags.DEFINE_string("inception", None, "Weights written by bitdiff.convert_inception, for FID.")
    flags.DEFINE_string("reference", None, "Statistics of the data written by bitdiff.reference, for FID.")
    flags.DEFINE_integer("inception_batch_size", 64, "Images per batch over all devices, for FID.")


def read_data() -> DataRequest:
    """Reads the flags of `define_data_flags` into a request."""
    values = flags.FLAGS
    inception = None if values.inception is None else Path(values.inception)
    reference = None if values.reference is None else Path(values.reference)
    size = values.inception_batch_size
    return DataRequest(values.data_path, values.tokenizer, inception, reference, size, values.candidates)
