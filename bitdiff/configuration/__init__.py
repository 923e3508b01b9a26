"""Configurations: every field with its default, sections, shared settings, and configs by name."""

from bitdiff.configuration.base import base_config
from bitdiff.configuration.named import load_config

__all__ = ["base_config", "load_config"]
