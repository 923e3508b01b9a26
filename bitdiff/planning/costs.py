"""What a compiled program needs of a device, and the least time it can take: the roofline model.

A step takes at least as long as its matrix products at the chip's peak, its traffic to and from HBM at the memory's
bandwidth, and its traffic to other chips at the interconnect's. The real time is longer.
"""

import math
import re
from typing import Any, NamedTuple

from bitdiff.planning.chips import Chip

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}
_COLLECTIVE = re.compile(r"= (?P<shapes>.*?) (?P<kind>all-reduce|all-gather|reduce-scatter|all-to-all)(-start)?\(")
_SHAPE = re.compile(r"(?P<type>[a-z]+\d*)\[(?P<sizes>[\d,]*)\]")


class Cost(NamedTuple):
    """A program's needs, per device.

    flops: FLOPs of the program as compiled.
    hbm_bytes: bytes read from and written to HBM.
    exchanged_bytes: bytes that a device has to send to others.
    state_bytes: bytes of its arguments, such as weights and optimizer state, and outputs that do not reuse them.
    temporary_bytes: bytes of intermediate values.
    """

    flops: float
    hbm_bytes: float
    exchanged_bytes: float
    state_bytes: int
    temporary_bytes: int


class Bound(NamedTuple):
    """Lower bounds of a program's time in seconds; `binds` names the largest."""

    compute: float
    memory: float
    interconnect: float

    @property
    def seconds(self) -> float:
        """The largest of the bounds."""
        return max(self)

    @property
    def binds(self) -> str:
        """The name of the largest bound."""
        return max(self._fields, key=lambda name: getattr(self, name))


def cost_of(compiled: Any, count: int) -> Cost:
    """The cost of a compiled program on `count` devices."""
    found, memory = compiled.cost_analysis(), compiled.memory_analysis()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Cost(
        flops=found["flops"],
        hbm_bytes=found["bytes accessed"],
        exchanged_bytes=exchanged(compiled.as_text(), count),
        state_bytes=held,
        temporary_bytes=memory.temp_size_in_bytes,
    )


def exchanged(program: str, count: int) -> float:
    """Bytes that each of `count` devices sends at least: 2 (n - 1) / n of an all-reduced array, (n - 1) / n of others.

    Args:
      program: the text of the compiled program.
      count: the number of devices.
    """
    total = 0.0
    for match in _COLLECTIVE.finditer(program):
        size = sum(_size(shape) for shape in _SHAPE.finditer(match["shapes"]))
        total += (2 if match["kind"] == "all-reduce" else 1) * size * (count - 1) / count
    return total


def _size(shape: re.Match[str]) -> int:
    return _BYTES.get(shape["type"], 0) * math.prod(int(size) for size in shape["sizes"].split(",") if size)


def bound_of(cost: Cost, model_flops: float, chip: Chip) -> Bound:
    """The roofline of a program on a chip.

    Args:
      cost: what the program needs.
      model_flops: FLOPs of its matrix products and convolutions.
      chip: the chip.
    """
    return Bound(
        compute=model_flops / chip.peak,
        memory=cost.hbm_bytes / chip.bandwidth,
        interconnect=cost.exchanged_bytes / chip.interconnect,
    )
