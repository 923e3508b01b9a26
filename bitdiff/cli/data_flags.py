"""The flags of commands that compare samples with data, read into a typed request."""

from pathlib import Path
from typing import NamedTuple

from absl import flags

from bitdiff.data import Dataset
from bitdiff.evaluation.baseline import open_baseline
from bitdiff.evaluation.classifier_judge import open_judge
from bitdiff.evaluation.judge import Judge, open_inception
from bitdiff.evaluation.scores import open_data
from bitdiff.inference.trained import Trained


class DataRequest(NamedTuple):
    """The data to compare with, and what FID, perplexity and a classifier's scores are computed with."""

    path: str | None
    tokenizer: str | None
    inception: Path | None
    reference: Path | None
    inception_batch_size: int
    candidates: int | None
    baseline: Path | None
    judge: Path | None

    def open(self, run: Trained) -> tuple[Trained, Dataset]:
        """A run with the request's options in its config, and its data set."""
        return open_data(run, self.path, self.tokenizer, self.candidates)

    def open_judges(self, run: Trained) -> list[Judge]:
        """The judges that score a run's samples in addition to its task."""
        inception = open_inception(run, self.inception, self.reference, self.inception_batch_size)
        baseline = None if self.baseline is None else open_baseline(run, self.baseline)
        own = None if self.judge is None else open_judge(run, self.judge)
        return [judge for judge in (inception, baseline, own) if judge]


def define_path_flag() -> None:
    """Defines the flag that says where a run's data are."""
    flags.DEFINE_string("data_path", None, "Where the data are now; by default the config's path.")


def define_data_flags() -> None:
    """Defines the flags of `read_data`."""
    define_path_flag()
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
    flags.DEFINE_string("baseline", None, "Autoregressive run under which the perplexity of text is computed.")
    flags.DEFINE_string("judge", None, "Classifier that scores images, written by bitdiff.train_judge.")
    flags.DEFINE_string("inception", None, "Weights written by bitdiff.convert_inception, for FID.")
    flags.DEFINE_string("reference", None, "Statistics of the data written by bitdiff.reference, for FID.")
    flags.DEFINE_integer("inception_batch_size", 64, "Images per batch over all devices, for FID.")


def read_data() -> DataRequest:
    """Reads the flags of `define_data_flags` into a request."""
    values = flags.FLAGS
    paths = (values[name].value for name in ("inception", "reference", "baseline", "judge"))
    inception, reference, baseline, judge = (None if path is None else Path(path) for path in paths)
    size = values.inception_batch_size
    return DataRequest(
        values.data_path, values.tokenizer, inception, reference, size, values.candidates, baseline, judge
    )
