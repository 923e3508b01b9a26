"""The bytes that a compiled TPU program moves, parsed from its HLO text.

The compiler's own count of bytes accessed includes arrays that never leave the on-chip memory and omits the padding of
arrays to tiles, so it is not the HBM traffic.
"""

import logging
import math
import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

_BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "s16": 2, "u16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8}
_COMPUTATION = re.compile(r"^(?P<entry>ENTRY )?%(?P<name>[\w.\-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(?:ROOT )?%(?P<name>[\w.\-]+) = (?P<type>\(.*?\)|\S+) (?P<kind>[\w\-]+)\((?P<rest>.*)$")
_ARRAY = re.compile(r"(?P<type>[a-z]+\d*)\[(?P<sizes>[\d,]*)\](?:\{(?P<order>[\d,]*)(?::(?P<layout>[^}]*))?\})?")
_TRIPS = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')
_CONDITION = re.compile(r"condition=%([\w.\-]+)")
_INTEGER = re.compile(r"\d+")
_CALLED = re.compile(r"(?:body|to_apply|calls)=%([\w.\-]+)")
_BRANCHES = re.compile(r"(?:branch_computations=\{([^}]*)\}|true_computation=(\S+), false_computation=(\S+))")
_REFERENCE = re.compile(r"%([\w.\-]+)")
_GROUPS = re.compile(r"replica_groups=(?:\{\{([\d,]+)\}|\[\d+,(\d+)\])")
_ON_CHIP = re.compile(r"S\([1-9]\)")  # in a layout: any memory space but HBM, which is 0
# Instructions that move nothing. (An asynchronous copy is counted at its "-start"; its "-done" is skipped.)
_FREE = {"parameter", "tuple", "get-tuple-element", "bitcast", "constant", "after-all", "partition-id", "replica-id"}
_COLLECTIVES = {"all-reduce": 2, "all-gather": 1, "reduce-scatter": 1, "all-to-all": 1}
# Asynchronous instructions whose result type includes their operands.
_WITH_OPERANDS = {"copy-start", "async-start", "all-gather-start", "collective-permute-start"}

_log = logging.getLogger(__name__)


class Instruction(NamedTuple):
    """One HLO instruction: its name, result type, opcode, and the rest of the line (operands and attributes)."""

    name: str
    type: str
    kind: str
    rest: str


Types = dict[str, str]  # the types of a computation's results, by name
Measure = Callable[[Instruction, Types], float]  # the bytes that one instruction moves


def hbm_bytes(program: str) -> float:
    """Bytes read from and written to HBM, including padding; a loop's body is counted once per iteration.

    The trip count of a loop is the one that the compiler states, or else the constant bound of a counter that starts at
    0; with neither, the loop is counted once, with a warning. If an instruction reads or writes only part of an array,
    the whole array is counted, except in an asynchronous slice. An array that a kernel (a custom call) reads repeatedly
    is counted once.

    Args:
      program: the HLO text of a compiled program.
    """
    computations, entry = _computations(program)
    return _total(computations, entry, _moved)


def exchanged_bytes(program: str, count: int) -> float:
    """Minimum bytes sent by each device: 2 (n - 1) / n of an all-reduced array, (n - 1) / n of others.

    n is the size of the group of devices that a collective connects. The array is the larger of the collective's
    operand and result; of a permutation, a device sends all of it. A loop's body is counted once per iteration.

    Args:
      program: the HLO text of a compiled program.
      count: the number of devices.
    """
    computations, entry = _computations(program)

    def sent(instruction: Instruction, types: Types) -> float:
        if instruction.kind.endswith("-done"):
            return 0.0
        inner = _CALLED.findall(instruction.rest) if instruction.kind in ("fusion", "async-start") else []
        return _sent(instruction, count) + sum(_total(computations, name, sent) for name in inner)

    return _total(computations, entry, sent)


def _computations(program: str) -> tuple[dict[str, list[Instruction]], str]:
    found: dict[str, list[Instruction]] = {}
    name = entry = ""
    for line in program.splitlines():
        if start := _COMPUTATION.match(line):
            name = start["name"]
            found[name] = []
            entry = name if start["entry"] else entry
        elif name:
            found[name] += _instructions(line)
    return found, entry


def _instructions(text: str) -> Iterator[Instruction]:
    for line in text.splitlines():
        if match := _INSTRUCTION.match(line):
            yield Instruction(*match.group("name", "type", "kind", "rest"))


def _total(computations: dict[str, list[Instruction]], name: str, measure: Measure) -> float:
    """The sum of a measure over the instructions that a computation runs."""
    types = {instruction.name: instruction.type for instruction in computations[name]}
    total = 0.0
    for instruction in computations[name]:
        kind, rest = instruction.kind, instruction.rest
        if kind in ("while", "call"):
            called = sum(_total(computations, other, measure) for other in _CALLED.findall(rest))
            total += called * (_trips(computations, rest) if kind == "while" else 1)
        elif kind == "conditional":
            branches = _REFERENCE.findall(" ".join(_BRANCHES.findall(rest)[0]))
            total += max(_total(computations, branch, measure) for branch in branches)
        else:
            total += measure(instruction, types)
    return total


def _moved(instruction: Instruction, types: Types) -> float:
    """The bytes that an instruction reads from and writes to HBM."""
    kind = instruction.kind
    if kind in _FREE or kind.endswith("-done"):
        return 0.0
    if kind in _WITH_OPERANDS:
        return _in_hbm(instruction.type)
    if kind == "slice-start":  # ((operand), result, context)
        operand, result = list(_ARRAY.finditer(instruction.type))[:2]
        return sum(_physical(result) for side in (operand, result) if not _on_chip(side))
    operands = _REFERENCE.findall(instruction.rest.split("), ")[0])
    return _in_hbm(instruction.type) + sum(_in_hbm(types.get(operand, "")) for operand in set(operands))


def _sent(instruction: Instruction, count: int) -> float:
    """The bytes that a device sends in a collective; 0 for other instructions."""
    kind = instruction.kind.removesuffix("-start")
    arrays = [_logical(array) for array in _ARRAY.finditer(instruction.type)]
    if kind == "collective-permute":
        return arrays[instruction.kind in _WITH_OPERANDS]
    if kind not in _COLLECTIVES:
        return 0.0
    if instruction.kind in _WITH_OPERANDS:
        arrays = arrays[len(arrays) // 2 :]  # the results
    group = _GROUPS.search(instruction.rest)
    size = (len(group[1].split(",")) if group[1] else int(group[2])) if group else count
    whole = sum(arrays) * (size if kind == "reduce-scatter" else 1)
    return _COLLECTIVES[kind] * whole * (size - 1) / size


def _trips(computations: dict[str, list[Instruction]], rest: str) -> int:
    """How many times a loop's body runs: the stated trip count, or else its counter's bound; 1 if neither is found."""
    if stated := _TRIPS.search(rest):
        return int(stated[1])
    condition = _CONDITION.search(rest)
    instructions = computations.get(condition[1], []) if condition else []
    bounds = [int(found[0]) for one in instructions if one.kind == "constant" and (found := _INTEGER.match(one.rest))]
    if len(bounds) == 1 and any("direction=LT" in one.rest for one in instructions):
        return bounds[0]
    _log.warning("a loop whose number of iterations the program does not state is counted once")
    return 1


def _in_hbm(types: str) -> int:
    return sum(_physical(array) for array in _ARRAY.finditer(types) if not _on_chip(array))


def _on_chip(array: re.Match[str]) -> bool:
    return bool(_ON_CHIP.search(array["layout"] or ""))


def _logical(array: re.Match[str]) -> int:
    return _BYTES.get(array["type"], 0) * math.prod(_numbers(array["sizes"]))


def _physical(array: re.Match[str]) -> int:
    """The size in bytes of an array with its minor dimensions padded to whole tiles, as in f32[9,64]{1,0:T(8,128)}."""
    sizes = _numbers(array["sizes"])
    tile = re.search(r"T\(([\d,]+)\)", array["layout"] or "")
    if tile:
        minor = _numbers(array["order"])
        for dimension, size in zip(minor, reversed(_numbers(tile[1])), strict=False):
            sizes[dimension] = math.ceil(sizes[dimension] / size) * size
    return _BYTES.get(array["type"], 0) * math.prod(sizes)


def _numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",") if number]
