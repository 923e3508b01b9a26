"""TPU slices to compile for without having them: all it takes is a Linux machine with libtpu."""

import importlib.metadata
import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from jax.experimental import topologies

from bitdiff.planning.chips import CHIPS, Chip, has_shape
from bitdiff.runtime.errors import UsageError, choose

# Without the first two, libtpu queries the metadata server of a TPU VM, which takes minutes to fail; without the third,
# only one process at a time can use it.
_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
}
_NAME = re.compile(r"(?P<chip>\w+):(?P<shape>\d+(x\d+)+)")
EXAMPLES = "v5e:2x2, v5e:4x4, v4:2x2x1, v4:2x2x4, v5p:4x4x4, v6e:2x4"


class Slice(NamedTuple):
    """A slice to compile for.

    name: such as 'v5e:4x4'.
    chip: its chips' speeds and memory.
    devices: jax's descriptions of its devices, one per chip: programs can be compiled for them, but not run on them.
    """

    name: str
    chip: Chip
    devices: tuple[Any, ...]


def describe(name: str) -> Slice:
    """The slice with this name: a chip type and the slice's shape in chips, as in 'v5e:4x4' or 'v4:2x2x1'.

    Raises:
      UsageError: libtpu is not installed, or the chip or shape is unknown.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UsageError(f"the topology is {name!r}; it must be a chip type and a slice shape, for example {EXAMPLES}")
    choose("chip (--topology)", match["chip"], CHIPS)
    if not has_shape(CHIPS[match["chip"]], match["shape"]):
        shapes = CHIPS[match["chip"]].shapes
        more = " and larger ones of three multiples of 4, such as 4x4x8" if len(shapes[0]) > 3 else ""
        raise UsageError(f"there are no slices {name!r}; the shapes of {match['chip']} are {', '.join(shapes)}{more}")
    if importlib.util.find_spec("libtpu") is None:
        raise UsageError("compiling for TPUs requires libtpu: pip install libtpu (Linux only; no TPU needed)")
    for variable, value in _ENVIRONMENT.items():
        os.environ.setdefault(variable, value)
    options: dict[str, Any] = {"chip_config_name": "megacore"} if match["chip"] == "v4" else {}
    if match["shape"] == "1x1":
        options["chips_per_host_bounds"] = (1, 1, 1)
    try:
        with _silent():
            described = topologies.get_topology_desc(name, "tpu", **options)
    except Exception as error:  # libtpu raises no specific exception for a shape that does not exist
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"libtpu does not know the topology {name!r} ({reason}); examples: {EXAMPLES}") from error
    return Slice(name, CHIPS[match["chip"]], tuple(described.devices))


@contextmanager
def _silent() -> Iterator[None]:
    """Discards what libtpu writes to the standard error stream: warnings about the TPU that this machine lacks."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def libtpu_version() -> str:
    """The installed version of libtpu, whose compiler the numbers come from."""
    return importlib.metadata.version("libtpu")
