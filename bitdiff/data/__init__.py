"""Data sets: loading, checking and filling in a config, and the stream of training batches."""

from bitdiff.data.dataset import Dataset, Source
from bitdiff.data.loading import load, resolve
from bitdiff.data.pipeline import batches

__all__ = ["Dataset", "Source", "batches", "load", "resolve"]
