"""One description of every configuration field: its default, type and range, and what it is.

The sections in `base.py` and `sections.py` are tables of these. Configs are made from them, checked against them, and
documented from them (configs/fields.md).
"""

import math
import numbers
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

MOST = 2**31 - 1  # steps and indices are int32


class Field(NamedTuple):
    """A configuration field.

    default: its default.
    about: what it is, as a phrase.
    kind: 'integer', 'number', 'text', 'boolean', 'integers', 'numbers' or 'restarts'.
    low, high: bounds of a number, or of each number of a tuple.
    above, below: whether `low` or `high` itself is excluded.
    choices: the valid names; () if any text is valid.
    length: number of entries of a tuple; 0 for any number, -1 for one or more.
    optional: whether None is valid.
    """

    default: Any
    about: str
    kind: str
    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False
    choices: tuple[str, ...] = ()
    length: int = 0
    optional: bool = False

    @property
    def valid(self) -> str:
        """What a value must be, in words."""
        if self.choices:
            return "one of " + ", ".join(repr(name) for name in self.choices)
        if self.kind in ("text", "boolean"):
            return {"text": "text", "boolean": "True or False"}[self.kind]
        if self.kind == "restarts":
            return "a tuple of tuples (steps, times, sigma low, sigma high)"
        plural = self.kind.endswith("s")
        text = self.kind if plural else {"integer": "an integer", "number": "a finite number"}[self.kind]
        text += self._range
        if plural:
            count = {0: "any number of", -1: "one or more"}.get(self.length, str(self.length))
            text = f"a tuple of {count} {text}"
        return text + (", or None" if self.optional else "")

    @property
    def _range(self) -> str:
        low, high = _short(self.low), _short(self.high)
        if self.low == -math.inf:
            return ""
        if self.high == math.inf:
            return f" above {low}" if self.above else f", {low} or more"
        if not (self.above or self.below):
            return f" from {low} to {high}"
        return f" {'above' if self.above else 'of at least'} {low} and {'below' if self.below else 'at most'} {high}"

    def accepts(self, value: Any) -> bool:
        """Whether a value is valid."""
        if value is None:
            return self.optional
        if self.kind == "text":
            return isinstance(value, str) and (not self.choices or value in self.choices)
        if self.kind == "boolean":
            return isinstance(value, bool)
        if self.kind == "restarts":
            return _is_tuple(value, 0) and all(_is_tuple(part, 4) and all(map(_is_number, part)) for part in value)
        if self.kind in ("integers", "numbers"):
            return _is_tuple(value, self.length) and all(self._in_range(entry) for entry in value)
        return self._in_range(value)

    def _in_range(self, value: Any) -> bool:
        kind = numbers.Integral if self.kind.startswith("integer") else numbers.Real
        if not _is_number(value) or not isinstance(value, kind):
            return False
        size = float(value)
        above = size > self.low if self.above else size >= self.low
        return above and (size < self.high if self.below else size <= self.high)


Table = Mapping[str, Field]


def integer(default: int, about: str, low: int = 0, high: int = MOST) -> Field:
    """An integer from `low` to `high`."""
    return Field(default, about, "integer", low, high)


def number(default: float, about: str, low: float = 0.0, high: float = math.inf, *, above: bool = False) -> Field:
    """A finite number from `low` to `high`; `above` excludes `low`."""
    return Field(default, about, "number", low, high, above=above)


def fraction(default: float, about: str) -> Field:
    """A number in [0, 1)."""
    return Field(default, about, "number", 0.0, 1.0, below=True)


def optional_number(about: str) -> Field:
    """A number, or None for a default that depends on other fields."""
    return Field(None, about, "number", optional=True)


def text(default: str, about: str, choices: tuple[str, ...] = ()) -> Field:
    """Any text, or one of several names."""
    return Field(default, about, "text", choices=choices)


def boolean(default: bool, about: str) -> Field:
    """True or False."""
    return Field(default, about, "boolean")


def integers(default: tuple[int, ...], about: str, low: int, high: int, length: int = 0) -> Field:
    """A tuple of integers from `low` to `high`; see Field.length."""
    return Field(default, about, "integers", low, high, length=length)


def to_config(table: Table) -> ml_collections.ConfigDict:
    """A config section that holds the defaults."""
    return ml_collections.ConfigDict(
        {
            name: ml_collections.config_dict.placeholder(float) if field.optional else field.default
            for name, field in table.items()
        }
    )


def _is_tuple(value: Any, length: int) -> bool:
    if not isinstance(value, list | tuple):
        return False
    return len(value) >= 1 if length == -1 else length in (0, len(value))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond the range of floats
        return False


def _short(bound: float) -> str:
    power = math.log2(bound) if bound > 1024 else 0.5
    if bound == MOST:
        return "2^31 - 1"
    return f"2^{int(power)}" if power.is_integer() else f"{bound:g}"
