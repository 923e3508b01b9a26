"""Pictures of ligands in receptors: projections of complexes, side by side."""

from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from bitdiff.figures import plots

_MOST, _COLUMNS = 12, 4
_LEGEND = "colored atoms: the sampled pose; green: the pose in the data; gray: the receptor"
_OTHERS = "orange: the other true pose"


def write_poses(path: Path, outputs: Mapping[str, np.ndarray], columns: int | None = None) -> None:
    """Renders poses in their receptors, seen along the receptor's shortest axis.

    Args:
      path: the PNG file.
      outputs: a docking task's samples, with 'pose', 'atoms', 'bonds', 'residues', 'positions', and 'conformer', the
        true pose or its matched conformer, in green; if 'poses' is present, all true poses are drawn in orange beneath
        it; nodes that 'latents' point at are circled.
      columns: number of columns; by default up to 4, with at most 12 poses.
    """
    count = len(outputs["pose"]) if columns else min(len(outputs["pose"]), _MOST)
    width = columns or min(count, _COLUMNS)
    rows = -(-count // width)
    shared = "row" if columns else False  # a row of a given width holds the frames of one trajectory
    figure, grid = plt.subplots(
        rows, width, figsize=(3 * width, 3 * rows), layout="constrained", squeeze=False, sharex=shared, sharey=shared
    )
    for i, axes in enumerate(grid.ravel()):
        axes.axis("off")
        if i < count:
            _draw(axes, {name: array[i] for name, array in outputs.items()})
            if "confidence" in outputs:
                axes.set_title(f"confidence {outputs['confidence'][i]:.2f}", fontsize=9)
    marks = {"poses": _OTHERS, "latents": "circled: nodes that the latents point at"}
    first = [f"the first {count} of {len(outputs['pose'])} samples"] if count < len(outputs["pose"]) else []
    legend = "; ".join([*first, _LEGEND, *(text for name, text in marks.items() if name in outputs)])
    figure.supxlabel(legend, fontsize=4 + 2 * min(width, 3), wrap=True)
    plots.save(path, figure)


def _draw(axes: plt.Axes, one: dict[str, np.ndarray]) -> None:
    places = one["positions"][one["residues"] > 0]
    middle = places.mean(axis=0)
    _, _, axes_of_receptor = np.linalg.svd(places - middle, full_matrices=False)

    def project(x: np.ndarray) -> np.ndarray:
        return (x - middle) @ axes_of_receptor[:2].T

    axes.scatter(*project(places).T, s=30, color="0.8")
    x = project(one["pose"])
    for true in one.get("poses", ()):
        _draw_bonds(axes, project(true), one["bonds"], "moccasin", 5)
    _draw_bonds(axes, project(one["conformer"]), one["bonds"], "palegreen", 5)
    _draw_bonds(axes, x, one["bonds"], "tab:blue", 2)
    exist = one["atoms"] > 0
    axes.scatter(*x[exist].T, s=12, c=one["atoms"][exist], cmap="tab20", vmin=0, vmax=20, zorder=3)
    if "latents" in one and (one["latents"] >= 0).all():
        nodes = np.concatenate([one["pose"], one["positions"]])
        axes.scatter(*project(nodes[one["latents"]]).T, s=120, facecolors="none", edgecolors="tab:red", zorder=4)
    axes.set_aspect("equal")


def _draw_bonds(axes: plt.Axes, x: np.ndarray, bonds: np.ndarray, color: str, width: float) -> None:
    for i, j in bonds:
        if i != j:
            axes.plot(*x[[i, j]].T, color=color, linewidth=width)
