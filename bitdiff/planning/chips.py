"""TPU chips: their peak speeds and memory, from the manufacturer's documentation."""

from typing import NamedTuple


class Chip(NamedTuple):
    """One chip.

    peak: FLOP/s of matrix products in bfloat16.
    memory: bytes of HBM.
    bandwidth: bytes/s between HBM and the cores.
    interconnect: bytes/s that a chip sends over all its links to other chips, in one direction.
    source: where the numbers are documented.
    """

    peak: float
    memory: float
    bandwidth: float
    interconnect: float
    source: str


_DOCS = "docs.cloud.google.com/tpu/docs"
CHIPS = {  # by the name that libtpu uses in topologies
    # The page of v4 has no interconnect per chip; this is the pod's all-reduce bandwidth over its 4,096 chips.
    "v4": Chip(275e12, 32 * 2**30, 1_200e9, 1.1e15 / 4096, f"{_DOCS}/v4"),
    "v5e": Chip(197e12, 16e9, 819e9, 200e9, f"{_DOCS}/v5e"),
    "v5p": Chip(459e12, 95e9, 2_765e9, 600e9, f"{_DOCS}/v5p"),
    "v6e": Chip(918e12, 32e9, 1_638e9, 400e9, f"{_DOCS}/v6e"),
}
