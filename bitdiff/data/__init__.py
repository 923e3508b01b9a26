"""Data sets: loading, completing a config from them, and the stream of training batches."""

from bitdiff.data.array_files import from_arrays
from bitdiff.data.dataset import Dataset, Source
from bitdiff.data.loading import load, resolve
from bitdiff.data.pipeline import batches

__all__ = ["Dataset", "Source", "batches", "from_arrays", "load", "resolve"]
