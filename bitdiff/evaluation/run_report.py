"""The contents of a page about a run: config, curves, samples, a trajectory, bits, evaluation and sweeps."""

import io
import json
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bitdiff.configuration.base import base_config
from bitdiff.evaluation.scores import open_data
from bitdiff.figures import html_page, pages, plots
from bitdiff.figures.pose_pictures import write_poses
from bitdiff.inference.draws import Draw, draw
from bitdiff.inference.trained import Trained, with_texts
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import examples_for
from bitdiff.training import workdir

_CURVES = ("loss", "test_loss")
_TRAJECTORIES = 10  # samples whose trajectory is shown


class Shown(NamedTuple):
    """The samples to draw for the page, the number of frames per trajectory, and the data's path if it has changed."""

    draw: Draw
    frames: int
    data_path: str | None = None


def sections(run: Trained, shown: Shown) -> dict[str, str]:
    """The sections of the page, as HTML by heading; those without content are left out.

    Raises:
      UsageError: the model is conditioned on data that are missing.
    """
    found = {
        "Run": _facts(run),
        "Training": _curves(run),
        **_samples(run, shown),
        "Evaluation": _evaluation(run),
        "Sweep": _sweep(run),
        "Config": _config(run),
    }
    return {name: body for name, body in found.items() if body}


def _facts(run: Trained) -> str:
    config = run.config
    rows = [
        ("task", config.task),
        ("data", f"{config.data.name} {config.data.builder} {config.data.path}".strip()),
        *([] if run.task.field == "pose" else [("encoding", config.bits.encoding)]),
        ("training steps", run.step),
        ("seed", config.seed),
        ("weights", "moving average" if run.weights == "ema" else "raw"),
    ]
    return html_page.table(rows)


def _curves(run: Trained) -> str:
    path = None if run.folder is None else run.folder / "metrics.jsonl"
    if path is None or not path.exists():
        return ""
    lines: dict[str, dict[float, float]] = {}
    for line in path.read_text().splitlines():
        try:
            row = json.loads(line)
        except ValueError:  # the last line of a run that was killed
            continue
        for name in _CURVES:
            if name in row:
                lines.setdefault(name, {})[row["step"]] = row[name]
    if not lines:
        return ""
    png = _drawn(lambda target: plots.curves(target, lines, x_label="step", y_label="loss"))
    return html_page.picture(png, "loss against training step")


def _samples(run: Trained, shown: Shown) -> dict[str, str]:
    """Samples, the trajectories of some of them, and the histogram of their bits."""
    examples = None
    if run.task.uses_examples:
        run, dataset = open_data(run, shown.data_path)
        examples = examples_for(run.task, dataset)
    elif shown.data_path is not None:
        raise UsageError(f"--data_path is {shown.data_path}, but this model needs no data to sample")
    outputs = with_texts(run, draw(run.task, run.params, shown.draw, examples=examples))
    pictures = None
    if run.config.encoder and examples is not None:
        pictures = np.stack([examples[int(i)]["image"] for i in outputs["source"]])
    found = {"Samples": _rendered(run, outputs, pictures)}
    try:
        options = shown.draw.options._replace(frames=shown.frames)
        few = shown.draw._replace(options=options, num_samples=min(shown.draw.num_samples, _TRAJECTORIES))
        found["Trajectory"] = _trajectory(run, draw(run.task, run.params, few, examples=examples), pictures)
    except UsageError as error:
        found["Trajectory"] = html_page.paragraph(f"This model has no trajectory to show: {error}.")
    if "histogram" in outputs and run.config.bits.encoding != "continuous":
        counts, scale = outputs["histogram"].sum(0).tolist(), run.config.bits.scale
        png = _drawn(lambda target: plots.histogram(target, counts, scale))
        found["Analog bits"] = html_page.picture(png, "histogram of the analog bits of the samples")
    return found


def _rendered(run: Trained, outputs: dict[str, np.ndarray], pictures: np.ndarray | None = None) -> str:
    """Samples as a grid of images, captions below their pictures, lines of text or tokens, or a plot of points."""
    if run.task.field == "image":
        columns = run.config.data.num_classes or None
        grid = pages.image_grid(outputs["image"], run.config.data.vocab_size, columns)
        return html_page.picture(_png(grid), f"{len(outputs['image'])} samples")
    if run.task.field == "pose":
        png = _drawn(lambda target: write_poses(target, outputs))
        return html_page.picture(png, f"{len(outputs['pose'])} samples, of which at most 12 are shown")
    if run.task.field == "point":
        png = _drawn(lambda target: plots.scatter(target, outputs["point"]))
        return html_page.picture(png, f"{len(outputs['point'])} samples")
    texts = [str(text) for text in outputs["text"]] if "text" in outputs else None
    if texts and pictures is not None:
        return html_page.picture(_png(pages.caption_sheet(pictures, texts)), "pictures with sampled captions")
    return html_page.text(texts or [" ".join(map(str, row)) for row in outputs["tokens"].tolist()])


def _trajectory(run: Trained, outputs: dict[str, np.ndarray], pictures: np.ndarray | None) -> str:
    """A slider over samples' trajectories; `pictures`, if any, are those that the samples describe."""
    frames = np.moveaxis(outputs["trajectory"], 1, 0)
    own = None if pictures is None else pictures[: frames.shape[1]]
    bodies = [_rendered(run, with_texts(run, outputs | {run.task.field: frame}), own) for frame in frames]
    what = "pose during sampling" if run.task.field == "pose" else "estimate of x0"
    labels = [f"{what}, {i + 1} of {len(bodies)}" for i in range(len(bodies))]
    return html_page.scrubber(bodies, labels)


def _evaluation(run: Trained) -> str:
    path = None if run.folder is None else run.folder / "evaluation.json"
    if path is None or not path.exists():
        return ""
    report = json.loads(path.read_text())
    rows = [(name, f"{score['value']:.4g}", score["about"]) for name, score in report["scores"].items()]
    about = report["provenance"]
    note = f"{about['num_samples']} samples at step {about['step']}, {about['evaluations']} network evaluations each."
    return html_page.paragraph(note) + html_page.table(rows, ("score", "value", "what it measures"))


def _sweep(run: Trained) -> str:
    plot = None if run.folder is None else run.folder / "sweep.png"
    if plot is None or not plot.exists():
        return ""
    table = plot.with_suffix(".md")
    lines = table.read_text().splitlines() if table.exists() else []
    return html_page.picture(plot.read_bytes(), "scores against td") + html_page.folded("tables", html_page.text(lines))


def _config(run: Trained) -> str:
    """The fields that differ from their defaults, and all fields."""
    defaults = workdir.flatten(workdir.plain(base_config()))
    fields = workdir.flatten(workdir.plain(run.config))
    own = [(name, json.dumps(value)) for name, value in fields.items() if _differs(name, value, defaults)]
    rows = html_page.table(own, ("field", "value"))
    everything = html_page.table([(name, json.dumps(value)) for name, value in fields.items()], ("field", "value"))
    return rows + html_page.folded("all fields", everything)


def _differs(name: str, value: Any, defaults: dict[str, Any]) -> bool:
    """Whether a field, or that of a run it starts from, differs from its default or has none."""
    field = re.sub(r"^(first\.)+", "", name)
    return field not in defaults or defaults[field] != value


def _drawn(plot: Callable[[Path], Any]) -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "plot.png")
        plot(target)
        return target.read_bytes()


def _png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return buffer.getvalue()
