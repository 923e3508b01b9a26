"""Running means of the training metrics since the last line of the log, in a form that checkpoints can store."""

from collections.abc import Mapping


class RunningMeans:
    """Sums of metrics by name, and their count."""

    def __init__(self, sums: Mapping[str, float] | None = None):
        """Starts from the `sums` of an earlier instance, or from zero."""
        self._sums = dict(sums or {})

    @property
    def sums(self) -> dict[str, float]:
        """The content, as plain JSON."""
        return dict(self._sums)

    def add(self, metrics: Mapping[str, float]) -> None:
        """Adds the metrics of one step."""
        for name, value in {"count": 1, **metrics}.items():
            self._sums[name] = self._sums.get(name, 0) + value

    def mean(self) -> dict[str, float]:
        """The means by name; {} if there are none."""
        count = self._sums.get("count", 0)
        return {name: value / count for name, value in self._sums.items() if name != "count"}

    def reset(self) -> None:
        """Resets the sums and the count."""
        self._sums = {}
