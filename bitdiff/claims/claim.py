"""What a claim is: the models it compares, what is measured on them, and the evidence that decides it."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bitdiff.inference.trained import Trained

Key = tuple[str, float]  # a line of a claim's plot, and a position on its x axis
Values = Mapping[Key, np.ndarray]  # the score of each point, [seeds]
Evidence = Callable[[Values], np.ndarray]  # how much each seed supports a claim [seeds]; negative if it contradicts it


class Model(NamedTuple):
    """A model that several claims may use, trained once per seed.

    config: the name of a config.
    changes: fields of the config, by their full name.
    first: the model that config.first_run names, or ''.
    """

    config: str
    changes: Mapping[str, Any] = {}
    first: str = ""


def training_of(names: Iterable[str], models: Mapping[str, Model]) -> dict[str, Any]:
    """How models and those they depend on are trained, by name, as plain JSON; where the data are does not matter."""
    found: dict[str, Any] = {}
    for name in names:
        model = models[name]
        found |= training_of([model.first], models) if model.first else {}
        changes = {field: value for field, value in model.changes.items() if field != "data.path"}
        found[name] = [model.config, json.loads(json.dumps(changes)), model.first]
    return found


class Point(NamedTuple):
    """One measurement: samples of a model with some sampling options.

    line, x: where it is in the claim's plot.
    model: the name of the model.
    options: sampling options that differ from the config's.
    step: the training step of the model's checkpoint; 0 for the last.
    """

    line: str
    x: float
    model: str
    options: Mapping[str, Any]
    step: int = 0


class Score(NamedTuple):
    """What is measured.

    name: the name of a score.
    title: the score in words.
    reference: the name of a score that is shown beside it, if it was measured; by default that of real test data.
    reference_title: what the reference score belongs to, in words.
    """

    name: str
    title: str
    reference: str = ""
    reference_title: str = "real test data"


class Claim(NamedTuple):
    """A claim, and how it is checked.

    statement: one sentence.
    paper: the paper's numbers, and where they are.
    score: what is measured at every point.
    points: all measurements.
    x_label: the x axis of the plot.
    evidence: functions, keyed by a sentence on what each shows.
    num_samples: samples per point.
    scale: completes the sentence 'A stronger test would ...'; printed unless the claim holds.
    curve: measures all points of a model at once, (run, num_samples) -> values by x, in place of `bitdiff.sweep`.
    """

    statement: str
    paper: str
    score: Score
    points: tuple[Point, ...]
    x_label: str
    evidence: Mapping[str, Evidence]
    num_samples: int
    scale: str
    curve: Callable[[Trained, int], Mapping[float, float]] | None = None

    @property
    def models(self) -> list[str]:
        """The names of the models, in the order in which they are first used."""
        return list(dict.fromkeys(point.model for point in self.points))


def by_steps(lines: Mapping[str, str], steps: Iterable[int], **options: Any) -> tuple[Point, ...]:
    """Points for models, keyed by the label of their line, at each number of sampling steps."""
    return tuple(
        Point(line, count, model, {"steps": count, **options}) for line, model in lines.items() for count in steps
    )


def better(line: str, than: str | tuple[str, ...], at: tuple[float, ...]) -> Evidence:
    """ln(other line's score / this line's score), averaged over x; lower scores are better.

    With several other lines, the comparison is with the best one at each x.
    """
    others = (than,) if isinstance(than, str) else than

    def evidence(values: Values) -> np.ndarray:
        best = [np.min([values[other, x] for other in others], axis=0) for x in at]
        return np.mean([np.log(other / values[line, x]) for other, x in zip(best, at, strict=True)], axis=0)

    return evidence


def higher(line: str | tuple[str, ...], than: str, at: tuple[float, ...]) -> Evidence:
    """How far the best score of some lines at each x exceeds another line's, averaged over x; higher is better."""
    lines = (line,) if isinstance(line, str) else line

    def evidence(values: Values) -> np.ndarray:
        best = [np.max([values[one, x] for one in lines], axis=0) for x in at]
        return np.mean([one - values[than, x] for one, x in zip(best, at, strict=True)], axis=0)

    return evidence


def lower(line: str, than: str, at: tuple[float, ...]) -> Evidence:
    """How far a line's score is below another line's, averaged over x: a difference, for scores that may be 0."""
    return higher(than, line, at)


def best_falls(lines: tuple[str, ...], at: tuple[float, ...]) -> Evidence:
    """How far the x with the best (lowest) score falls from the first line to the last."""

    def evidence(values: Values) -> np.ndarray:
        best = [np.asarray(at)[np.argmin([values[line, x] for x in at], axis=0)] for line in (lines[0], lines[-1])]
        return best[0] - best[1]

    return evidence
