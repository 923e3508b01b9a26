"""What a compiled program requires of a device, and a lower bound on its time from the roofline model.

A step takes at least as long as the longest of three times: its matrix products at the chip's peak, its HBM traffic at
the memory bandwidth, and its traffic to other chips at the interconnect bandwidth. The actual time is longer.
"""

from typing import Any, NamedTuple

from bitdiff.planning import traffic
from bitdiff.planning.chips import Chip


class Cost(NamedTuple):
    """A program's needs, per device.

    flops: the compiler's own count of FLOPs, which counts a loop's body only once.
    hbm_bytes: bytes read from and written to HBM.
    accessed_bytes: the compiler's own count of bytes accessed, most of them in on-chip memory.
    exchanged_bytes: bytes that a device has to send to others.
    state_bytes: bytes of its arguments, such as weights and optimizer state, and of outputs that do not alias them.
    temporary_bytes: bytes of intermediate values.
    peak_bytes: the compiler's own estimate of the largest memory in use, including the program itself.
    """

    flops: float
    hbm_bytes: float
    accessed_bytes: float
    exchanged_bytes: float
    state_bytes: int
    temporary_bytes: int
    peak_bytes: int


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
    text = compiled.as_text()
    held = memory.argument_size_in_bytes + memory.output_size_in_bytes - memory.alias_size_in_bytes
    return Cost(
        flops=found["flops"],
        hbm_bytes=traffic.hbm_bytes(text),
        accessed_bytes=found["bytes accessed"],
        exchanged_bytes=traffic.exchanged_bytes(text, count),
        state_bytes=held,
        temporary_bytes=memory.temp_size_in_bytes,
        peak_bytes=memory.peak_memory_in_bytes,
    )


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
