"""Scenes of two groups of colored shapes: their captions, a caption parser, and a check of whether a caption is true.

A group is one to three identical shapes; one group is above the other, or they are side by side. A caption says what
the groups are and how they are arranged, in one of several forms, starting from either group:

    two big red squares above a small blue circle
    there is a small blue circle below two big red squares
"""

import re
from typing import NamedTuple

COUNTS = ("a", "two", "three")
SIZES = ("small", "big")
COLOURS = ("red", "green", "blue", "yellow", "purple", "white")
SHAPES = ("circle", "square", "triangle", "cross")
FORMS = 6  # captions that fully describe a scene
RELATIONS = (("above", "below"), ("left of", "right of"))  # by axis: first group to second, and second to first

_PLURALS = {"circle": "circles", "square": "squares", "triangle": "triangles", "cross": "crosses"}


class Group(NamedTuple):
    """Identical shapes: a count of 1 to 3, a size, a color and a shape; None where a caption omits it."""

    count: int
    size: str | None
    colour: str | None
    shape: str


class Scene(NamedTuple):
    """Two groups: the first is above the second (axis 0) or left of it (axis 1)."""

    first: Group
    second: Group
    axis: int


class Statement(NamedTuple):
    """What a caption states, as a scene; `second` and `axis` are None if it names only one group."""

    first: Group
    second: Group | None
    axis: int | None


def kinds() -> list[Group]:
    """All possible groups, in a fixed order."""
    return [
        Group(count, size, colour, shape)
        for count in range(1, len(COUNTS) + 1)
        for size in SIZES
        for colour in COLOURS
        for shape in SHAPES
    ]


def captions(scene: Scene) -> list[str]:
    """All captions that fully describe a scene: three forms, each starting from either group."""
    there, back = RELATIONS[scene.axis]
    starts = []
    for group, relation, other in ((scene.first, there, scene.second), (scene.second, back, scene.first)):
        a, b, verb = _noun_phrase(group), _noun_phrase(other), _verb(group)
        starts.append([f"{a} {relation} {b}", f"{a} {verb} {relation} {b}", f"there {verb} {a} {relation} {b}"])
    return [text for form in zip(*starts, strict=True) for text in form]


def parse(caption: str) -> Statement | None:
    """What a caption says, or None if it is not in the grammar.

    Sizes, colors and the second group may be omitted; number and verb must agree.
    """
    match = _SENTENCE.fullmatch(caption)
    if match is None:
        return None
    first = _group(match["a"])
    second = _group(match["b"]) if match["b"] else None
    if any(verb not in (None, _verb(first)) for verb in (match["there"], match["verb"])):
        return None
    if (match["there"] and match["verb"]) or (match["verb"] and second is None):
        return None
    if second is None:
        return Statement(first, None, None)
    (axis,) = (i for i, pair in enumerate(RELATIONS) if match["relation"] in pair)
    if match["relation"] == RELATIONS[axis][1]:
        first, second = second, first
    return Statement(first, second, axis)


def is_true(statement: Statement, scene: Scene) -> bool:
    """Whether what a caption says is true of the scene."""
    if statement.second is None:
        return _fits(statement.first, scene.first) or _fits(statement.first, scene.second)
    return (
        statement.axis == scene.axis and _fits(statement.first, scene.first) and _fits(statement.second, scene.second)
    )


def is_complete(statement: Statement) -> bool:
    """Whether a caption describes a scene fully."""
    return statement.second is not None and None not in (*statement.first, *statement.second)


def _noun_phrase(group: Group) -> str:
    noun = group.shape if group.count == 1 else _PLURALS[group.shape]
    return f"{COUNTS[group.count - 1]} {group.size} {group.colour} {noun}"


def _verb(group: Group) -> str:
    return "is" if group.count == 1 else "are"


def _fits(said: Group, real: Group) -> bool:
    return all(a is None or a == b for a, b in zip(said, real, strict=True))


def _any(words) -> str:
    return "|".join(words)


def _phrase_pattern() -> str:
    adjectives = rf"(?:(?:{_any(SIZES)}) )?(?:(?:{_any(COLOURS)}) )?"
    one = rf"{COUNTS[0]} {adjectives}(?:{_any(SHAPES)})"
    many = rf"(?:{_any(COUNTS[1:])}) {adjectives}(?:{_any(_PLURALS.values())})"
    return f"{one}|{many}"


_RELATION = _any(relation for pair in RELATIONS for relation in pair)
_SENTENCE = re.compile(
    rf"(?:there (?P<there>is|are) )?(?P<a>{_phrase_pattern()})"
    rf"(?: (?:(?P<verb>is|are) )?(?P<relation>{_RELATION}) (?P<b>{_phrase_pattern()}))?"
)


def _group(phrase: str) -> Group:
    words = phrase.split()
    singular = {plural: shape for shape, plural in _PLURALS.items()}
    return Group(
        COUNTS.index(words[0]) + 1,
        next((word for word in words if word in SIZES), None),
        next((word for word in words if word in COLOURS), None),
        singular.get(words[-1], words[-1]),
    )
