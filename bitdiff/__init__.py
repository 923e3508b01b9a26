"""bitdiff: Bit Diffusion and DisCo-Diff in JAX and Flax.

Models: `load` opens a trained one, `fit` trains one, `make_task` builds one from a config. Configs: `load_config` by
name, `base_config` with every field's default. Math: `bits`, `schedules`, `sampling`.
"""

import bitdiff.runtime.early  # noqa: F401  # takes effect on import
from bitdiff.configuration import base_config, load_config
from bitdiff.diffusion import bits, sampling, schedules
from bitdiff.inference.fitting import fit
from bitdiff.inference.trained import Trained, load
from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.version import __version__
from bitdiff.tasks import Task, make_task

__all__ = [
    "Task",
    "Trained",
    "UsageError",
    "__version__",
    "base_config",
    "bits",
    "fit",
    "load",
    "load_config",
    "make_task",
    "sampling",
    "schedules",
]
