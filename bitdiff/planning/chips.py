"""TPU chips: their peak speeds and memory, from the manufacturer's documentation."""

from typing import NamedTuple


class Chip(NamedTuple):
    """One chip.

    peak: FLOP/s of matrix products in bfloat16.
    memory: bytes of HBM.
    bandwidth: bytes/s between HBM and the cores.
    interconnect: bytes/s that a chip sends over all its links to other chips, in one direction. Small slices lack some
      of these links (half of them in a slice of 2x2), so their traffic can take longer than this bandwidth implies.
    shapes: the shapes of the slices on offer; for v4 and v5p, also all shapes of three multiples of 4, in ascending
      order.
    source: where the numbers are documented.
    """

    peak: float
    memory: float
    bandwidth: float
    interconnect: float
    shapes: tuple[str, ...]
    source: str


_DOCS = "https://docs.cloud.google.com/tpu/docs"
_FLAT = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4")
CHIPS = {  # by the name that libtpu uses in topologies
    # The v4 page gives no bandwidth per chip; this is the pod's all-reduce bandwidth divided by its 4,096 chips.
    "v4": Chip(275e12, 32 * 2**30, 1_200e9, 1.1e15 / 4096, _CUBES, f"{_DOCS}/v4"),
    "v5e": Chip(197e12, 16 * 2**30, 819e9, 200e9, _FLAT, f"{_DOCS}/v5e"),
    "v5p": Chip(459e12, 95 * 2**30, 2_765e9, 600e9, _CUBES, f"{_DOCS}/v5p"),
    "v6e": Chip(918e12, 32 * 2**30, 1_638e9, 400e9, _FLAT, f"{_DOCS}/v6e"),
}


def has_shape(chip: Chip, shape: str) -> bool:
    """Whether there are slices of a shape, such as '2x2' or '4x4x8'."""
    if shape in chip.shapes:
        return True
    sizes = [int(size) for size in shape.split("x")]
    return chip.shapes == _CUBES and len(sizes) == 3 and sizes == sorted(sizes) and all(n % 4 == 0 for n in sizes)
