"""Curves and histograms as PNG files."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np

matplotlib.use("Agg")  # needs no display
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from bitdiff.runtime import files

_LABEL_WIDTH = 50  # characters
_FAR = 4.0  # a level more than this factor above or below all means is not drawn
_IMPRECISE = 0.3  # standard deviation over mean, above which error bars would be distorted on a logarithmic axis


class _Plain(LogFormatter):
    """Labels of a logarithmic axis as plain numbers."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        return f"{x:g}" if super().__call__(x, pos) else ""


def histogram(path: Path, counts: Sequence[int], scale: float) -> None:
    """Plots the distribution of analog bits from -scale to scale, as fractions per bin on a logarithmic axis."""
    edges = np.linspace(-scale, scale, len(counts) + 1)
    figure, axes = plt.subplots(figsize=(5, 3), layout="constrained")
    axes.stairs(np.asarray(counts) / max(sum(counts), 1), edges, fill=True)
    axes.set(xlabel="analog bit", ylabel="fraction", yscale="log")
    save(path, figure)


def curves(path: Path, lines: Mapping[str, Mapping[float, float]], *, x_label: str, y_label: str) -> None:
    """Plots one curve y(x) per name."""
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for name, points in lines.items():
        x = sorted(points)
        axes.plot(x, [points[value] for value in x], marker="o", label=name)
    axes.set(xlabel=x_label, ylabel=y_label)
    axes.legend()
    save(path, figure)


def scatter(path: Path, points: np.ndarray) -> None:
    """Plots points float [N, 2]."""
    figure, axes = plt.subplots(figsize=(4, 4), layout="constrained")
    axes.scatter(points[:, 0], points[:, 1], s=4, alpha=0.5)
    axes.set_aspect("equal")
    save(path, figure)


def error_bars(
    path: Path,
    lines: Mapping[str, Mapping[float, Sequence[float]]],
    *,
    x_label: str,
    y_label: str,
    levels: Mapping[str, float] | None = None,
) -> None:
    """Plots the mean and standard deviation over seeds against x, one curve per name, and named horizontal levels.

    An axis is logarithmic if its values are positive and span a factor of 8 or more; the y axis also requires that no
    standard deviation exceeds 30% of its mean. A level more than a factor of 4 above or below all means appears only
    in the legend.
    """
    figure, axes = plt.subplots(figsize=(6, 4.8), layout="constrained")
    for name, points in lines.items():
        x = sorted(points)
        mean = [np.mean(points[value]) for value in x]
        spread = [_spread(points[value]) for value in x]
        axes.errorbar(x, mean, yerr=np.array(spread), marker="o", markersize=4, capsize=2, label=name)
    axes.set(xlabel=x_label, ylabel=textwrap.fill(y_label, _LABEL_WIDTH))
    ticks = sorted({value for points in lines.values() for value in points})
    if ticks[0] > 0 and ticks[-1] >= 8 * ticks[0]:
        axes.set_xscale("log")
        axes.set_xticks(ticks, _spaced(ticks))
        axes.set_xticks([], minor=True)
    else:
        axes.set_xticks(ticks, [f"{value:.3g}" if value < 1_000 else f"{value:g}" for value in ticks])
    seeds = [np.asarray(values, float) for points in lines.values() for values in points.values()]
    means = [float(values.mean()) for values in seeds]
    precise = all(_spread(values) <= _IMPRECISE * values.mean() for values in seeds)
    for name, level in (levels or {}).items():
        if min(means) <= _FAR * level and level <= _FAR * max(means):
            axes.axhline(level, color="black", linestyle="--", linewidth=1, label=name)
        else:
            axes.plot([], [], " ", label=f"{name}: {level:.3g}")
    if precise and min(means) > 0 and max(means) >= 8 * min(means):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(_Plain())
        axes.yaxis.set_minor_formatter(_Plain(minor_thresholds=(1.5, 0.5)))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    save(path, figure)


def _spread(values: Sequence[float] | np.ndarray) -> float:
    """The standard deviation over seeds, 0 for one seed."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _spaced(ticks: Sequence[float]) -> list[str]:
    """Labels of ticks on a logarithmic axis, '' for those too close to the next labeled tick."""
    least = 0.06 * np.log(ticks[-1] / ticks[0])
    labels, after = [], np.inf
    for value in reversed(ticks):
        crowded = np.log(after / value) < least
        labels.append("" if crowded else f"{value:.2g}" if value < 100 else f"{value:g}")
        after = after if crowded else value
    return labels[::-1]


def panels(path: Path, parts: Mapping[str, Mapping[str, Mapping[float, Sequence[float]]]], *, y_label: str) -> None:
    """Plots one panel per x label with curves of the mean over seeds against x, on logarithmic axes.

    Args:
      path: the PNG file.
      parts: the values of all seeds, above 0, by x, by name of the curve, and by label of the x axis; error bars show
        their standard deviation.
      y_label: the label of the y axis, which the panels share.
    """
    figure, axes = plt.subplots(1, len(parts), figsize=(5.5 * len(parts), 4.6), layout="constrained", sharey=True)
    for panel, (x_label, lines) in zip(np.atleast_1d(axes), parts.items(), strict=True):
        for name, points in lines.items():
            x = sorted(value for value in points if len(points[value]))
            mean = [np.mean(points[value]) for value in x]
            spread = [_spread(points[value]) for value in x]
            panel.errorbar(x, mean, yerr=spread, marker="o", markersize=4, capsize=2, label=name)
        ticks = sorted({value for points in lines.values() for value in points})
        panel.set(xlabel=x_label, xscale="log", xticks=ticks, xticklabels=[f"{value:g}" for value in ticks])
        panel.set_yscale("log")
        panel.xaxis.minorticks_off()
        panel.yaxis.set_major_formatter("{x:g}")
        panel.grid(alpha=0.3)
        panel.legend(fontsize="small", ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    np.atleast_1d(axes)[0].set_ylabel(y_label)
    save(path, figure)


def trajectories(path: Path, paths: Mapping[str, np.ndarray], curvature: Mapping[str, Mapping[float, float]]) -> None:
    """Plots trajectories float [N, S, 2] from noise to data, one panel per model, and their curvature by sigma."""
    count = len(paths)
    figure, axes = plt.subplots(1, count + 1, figsize=(4 * (count + 1), 4), layout="constrained")
    for panel, (name, lines) in zip(axes, paths.items(), strict=False):
        panel.plot(lines[..., 0].T, lines[..., 1].T, color="tab:blue", linewidth=0.5, alpha=0.5)
        panel.plot(lines[:, -1, 0], lines[:, -1, 1], ".", color="black", markersize=3)
        panel.set(title=name, xlim=(-6, 6), ylim=(-6, 6), aspect="equal")
    for name, points in curvature.items():
        axes[-1].plot(list(points), list(points.values()), marker="o", label=name)
    axes[-1].set(xlabel="sigma", ylabel="curvature", xscale="log", yscale="log")
    axes[-1].legend()
    save(path, figure)


def save(path: Path, figure: Figure) -> None:
    """Writes a figure as a PNG file, atomically, and closes it."""
    files.write(path, lambda file: figure.savefig(file, dpi=120, format="png"))
    plt.close(figure)
