"""Plans a run on TPUs without access to them: python -m bitdiff.plan --config cifar10 --topology v5e:4x4.

Compiles the training step and the sampler for a slice, and reports memory, FLOPs, HBM traffic and bytes sent to other
devices, all per device. After an interruption, rerun the same command with --out to resume. --compare
before.json,after.json prints the ratios between the numbers in two such reports.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
from absl import flags

from bitdiff import data
from bitdiff.cli import command
from bitdiff.evaluation import speed_reports
from bitdiff.planning import largest, plans, programs, slices
from bitdiff.runtime import files
from bitdiff.runtime.console import announced
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.runtime.version import __version__
from bitdiff.training import workdir
from bitdiff.training.first_stage import with_first_stage


class Request(NamedTuple):
    """What to plan: the config, the slices, the parts, whether to find the largest batch, and the file to write."""

    config: ml_collections.ConfigDict
    topologies: list[str]
    parts: list[str]
    largest_batch: bool
    out: Path | None


def define_flags() -> None:
    """Defines the command's flags."""
    command.define_config("Configuration to plan", required=False)
    flags.DEFINE_list("topology", ["v5e:2x2"], f"Slices to compile for, as chip:shape; for example {slices.EXAMPLES}.")
    flags.DEFINE_list("parts", list(plans.PARTS), f"What to compile: {', '.join(plans.PARTS)}.")
    flags.DEFINE_bool(
        "largest_batch", False, "Also find the largest training batch that fits, by bisection, which does not resume."
    )
    flags.DEFINE_string("out", None, "JSON file to write the numbers to; by default they are only printed.")
    flags.DEFINE_list("compare", None, "Two files written by --out, to compare; nothing is compiled.")


def main() -> None:
    """Runs the command."""
    values = flags.FLAGS
    if values.compare is not None:
        print(speed_reports.compare(values.compare))
        return
    if values.config is None:
        raise UsageError("pass --config to plan, or --compare to compare")
    out = None if values.out is None else command.out_file(values.out, ".json")
    report(Request(values.config, values.topology, values.parts, values.largest_batch, out))


def report(request: Request) -> None:
    """Compiles all parts for all slices, writes the report after each one, and prints the tables at the end."""
    for part in request.parts:
        choose("part (--parts)", part, plans.PARTS)
    described = [slices.describe(name) for name in request.topologies]
    config = resolved(request.config)
    if "training" in request.parts:
        for on in described:
            programs.training_rows(config, len(on.devices))  # an error now, not after the first compilation
    before = _finished(request.out, config)
    whole = {
        "versions": _versions(),
        "chips": before.get("chips", {}) | {on.name: on.chip._asdict() for on in described},
        "config": workdir.plain(config),
        "parts": before.get("parts", {}),
    }
    parts = whole["parts"]
    for on in described:
        for part in request.parts + (["largest batch"] if request.largest_batch else []):
            name = f"{part} {on.name}"
            if name in parts and "error" not in parts[name]:
                continue
            if part == "largest batch":
                parts[name] = largest.largest_batch(config, on)
            else:
                with announced(f"compiling the {part} program for {on.name} (takes minutes for a large network)"):
                    parts[name] = plans.plan(config, on, part)
            if request.out:
                files.write_text(request.out, json.dumps(whole, indent=2) + "\n")
    titles = {"training": "training", "sampling": "one step of the sampler", "largest batch": "the largest batch"}
    for part, title in titles.items():
        found = {on.name: parts[name] for on in described if (name := f"{part} {on.name}") in parts}
        if found:
            print(f"\n{title}, per device; times are lower bounds\n\n{plans.table(found)}")


def resolved(config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
    """The config with its first stage's config, and with the sizes of its data, read from the data where they are 0."""
    config = with_first_stage(config, Path("."))
    named = (config.data.vocab_size or config.task == "points", config.data.image_size or config.data.length)
    return config if all(named) else data.resolve(config, data.load(config.data))


def _versions() -> dict[str, str]:
    return {"bitdiff": __version__, "jax": jax.__version__, "libtpu": slices.libtpu_version()}


def _finished(out: Path | None, config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The report that an interrupted command has written; {} if there is none.

    Raises:
      UsageError: the file holds another plan.
    """
    if out is None or not out.exists():
        return {}
    before = speed_reports.read_report(out)
    if (before.get("versions"), before.get("config")) != (_versions(), workdir.plain(config)):
        raise UsageError(
            f"{out} holds the plan of another config or from other versions; pass another --out, or delete it"
        )
    return before


if __name__ == "__main__":
    define_flags()
    command.run(main, platform="cpu")
