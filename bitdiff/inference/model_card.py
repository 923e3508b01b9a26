"""The model card of an exported model: what it is, how to use it, and its scores with their provenance."""

import json
from pathlib import Path
from typing import Any

from bitdiff.runtime.errors import UsageError
from bitdiff.runtime.version import __version__


def read_evaluation(folder: Path) -> dict[str, Any] | None:
    """The report of `bitdiff.evaluate` in a workdir, or None if there is none.

    Raises:
      UsageError: the file cannot be read.
    """
    path = folder / "evaluation.json"
    if not path.is_file():
        return None
    try:
        report = json.loads(path.read_text())
        dict(report["scores"]), dict(report["provenance"])
        return report
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UsageError(f"{path} cannot be read: {error}; write it again with bitdiff.evaluate") from error


def model_card(name: str, config: Any, step: int, parameters: int, evaluation: dict[str, Any] | None) -> str:
    """The text of a model card in Markdown.

    Args:
      name: the name of the model.
      config: its resolved config.
      step: the training step of its weights.
      parameters: their number.
      evaluation: a report of `bitdiff.evaluate`, or None.
    """
    data, poses = config.data, bool(config.data.atoms)
    lines = [
        f"# {name}",
        "",
        f"A model for the task `{config.task}`, trained with bitdiff {__version__} on the data set `{data.name}`.",
        "",
        *_usage(name, poses),
        "",
        "| | |",
        "| --- | --- |",
        *([] if poses else [f"| encoding | `{config.bits.encoding}`, {data.vocab_size} values |"]),
        f"| network | `{config.network.get('name', 'custom')}`, {parameters:,} parameters |",
        f"| training | {step:,} steps of {config.train.batch_size} examples, seed {config.seed} |",
        f"| sampler | `{config.sample.sampler}`, {config.sample.steps} steps |",
        "",
        "## Scores",
        "",
    ]
    provenance = {} if evaluation is None else evaluation["provenance"]
    if evaluation is None or provenance.get("step") != step or provenance.get("weights") == "raw":
        return "\n".join([*lines, "Not evaluated at this step: run `python -m bitdiff.evaluate`.", ""])
    lines += ["| score | value | description |", "| --- | --- | --- |"]
    for score, entry in evaluation["scores"].items():
        lines.append(f"| {score} | {entry['value']:.4g} | {entry['about']} |")
    shown = {name: value for name, value in evaluation["provenance"].items() if value is not None and name != "workdir"}
    lines += ["", "Provenance:", "", *(f"- {key}: {json.dumps(value)}" for key, value in shown.items()), ""]
    return "\n".join(lines)


def _usage(name: str, poses: bool) -> list[str]:
    """The lines of an example that draws samples; a docking model samples poses in the complexes of its data."""
    if poses:
        return ["```bash", f"python -m bitdiff.sample --workdir {name} --num_samples 20 --out poses.npz", "```"]
    return ["```python", "import bitdiff", "", f'samples = bitdiff.load("{name}").sample(20)', "```"]
