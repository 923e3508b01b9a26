"""The plan of a config on a slice: what its training step and its sampler need, as numbers and as a table."""

from typing import Any, NamedTuple

import ml_collections

from bitdiff.networks import winograd
from bitdiff.planning import programs
from bitdiff.planning.costs import bound_of, cost_of
from bitdiff.planning.programs import NotCompiledError, Program
from bitdiff.planning.slices import Slice

_DAY = 24 * 60 * 60
PARTS = ("training", "sampling")


class Column(NamedTuple):
    """A column of the table: the name of a number, the factor by which it is multiplied for display, and its title."""

    name: str
    factor: float
    title: str


_COLUMNS = (
    Column("rows_per_device", 1, "examples"),
    Column("memory_bytes", 1 / 2**30, "memory, GiB"),
    Column("memory_fraction", 100, "of HBM, %"),
    Column("model_flops", 1e-12, "model TFLOP"),
    Column("flops_over_model", 1, "compiled / model FLOPs"),
    Column("hbm_bytes", 1e-9, "HBM traffic, GB"),
    Column("exchanged_bytes", 1e-6, "sent, MB"),
    Column("compute_seconds", 1e3, "compute, ms"),
    Column("memory_seconds", 1e3, "HBM, ms"),
    Column("interconnect_seconds", 1e3, "interconnect, ms"),
)


def plan(config: ml_collections.ConfigDict, on: Slice, part: str) -> dict[str, Any]:
    """The numbers of one part: of a training step for 'training', of one step of the sampler for 'sampling'.

    Returns:
      Numbers by name, per device, in bytes, FLOPs and seconds, and `binds`, the name of the largest bound; or only
      `error`, the compiler's message, if the program does not compile or does not fit in memory.

    Raises:
      UsageError: the batch size is not divisible by the number of devices, or the config is invalid.
    """
    try:
        with winograd.for_other_devices():
            return _training(config, on) if part == "training" else _sampling(config, on)
    except NotCompiledError as error:
        return {"error": str(error)}


def table(plans: dict[str, dict[str, Any]]) -> str:
    """A Markdown table of a part's numbers by slice."""
    titles = ["slice", *(column.title for column in _COLUMNS), "bound by", "days"]
    lines = [titles, ["---"] * len(titles)]
    for name, numbers in plans.items():
        if "error" in numbers:
            lines.append([name, numbers["error"], *[""] * (len(titles) - 2)])
            continue
        cells = [f"{numbers[column.name] * column.factor:.3g}" for column in _COLUMNS]
        days = f"{numbers['days']:.3g}" if "days" in numbers else ""
        lines.append([name, *cells, numbers["binds"], days])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _training(config: ml_collections.ConfigDict, on: Slice) -> dict[str, Any]:
    numbers = _numbers(programs.compile_training(config, on), on)
    return numbers | {"days": numbers["bound_seconds"] * config.train.steps / _DAY}


def _sampling(config: ml_collections.ConfigDict, on: Slice) -> dict[str, Any]:
    """The numbers of one step, averaged over all steps; the compiler itself counts the loop's body only once."""
    numbers = _numbers(programs.compile_sampling(config, on), on, programs.evaluations(config))
    evaluation = programs.compile_evaluation(config, on)
    if evaluation is not None:
        numbers["bytes_over_evaluation"] = numbers["hbm_bytes"] / cost_of(evaluation.compiled, 1).hbm_bytes
    return numbers


def _numbers(program: Program, on: Slice, steps: int = 1) -> dict[str, Any]:
    cost = cost_of(program.compiled, len(on.devices))
    cost = cost._replace(hbm_bytes=cost.hbm_bytes / steps)
    model_flops = program.model_flops // steps
    bound = bound_of(cost, model_flops, on.chip)
    memory = cost.state_bytes + cost.temporary_bytes
    return {
        "rows_per_device": program.rows,
        "memory_bytes": memory,
        "memory_fraction": memory / on.chip.memory,
        "model_flops": model_flops,
        "flops_over_model": cost.flops / model_flops,
        **cost._asdict(),
        **{f"{name}_seconds": seconds for name, seconds in bound._asdict().items()},
        "bound_seconds": bound.seconds,
        "binds": bound.binds,
    }
