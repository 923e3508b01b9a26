"""The plan of a config on a slice: what its training step and its sampler need, as numbers and as a table."""

from typing import Any, NamedTuple

import ml_collections

from bitdiff.networks import winograd
from bitdiff.planning import programs
from bitdiff.planning.costs import Cost, bound_of, cost_of
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
    Column("peak_bytes", 1 / 2**30, "peak, GiB"),
    Column("model_flops", 1e-12, "model TFLOP"),
    Column("flops_over_model", 1, "compiled / model FLOPs"),
    Column("hbm_bytes", 1e-9, "HBM traffic, GB"),
    Column("exchanged_bytes", 1e-6, "sent, MB"),
    Column("compute_seconds", 1e3, "compute, ms"),
    Column("memory_seconds", 1e3, "HBM, ms"),
    Column("interconnect_seconds", 1e3, "interconnect, ms"),
    Column("bytes_over_evaluation", 1, "HBM traffic / a network evaluation's"),
    Column("days", 1, "days"),
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
    columns = [column for column in _COLUMNS if any(column.name in numbers for numbers in plans.values())]
    titles = ["slice", *(column.title for column in columns), "bound by"]
    lines = [titles, ["---"] * len(titles)]
    for name, numbers in plans.items():
        if "error" in numbers:
            lines.append([name, numbers["error"], *[""] * (len(titles) - 2)])
            continue
        cells = [f"{numbers[c.name] * c.factor:.3g}" if c.name in numbers else "" for c in columns]
        lines.append([name, *cells, numbers["binds"]])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _training(config: ml_collections.ConfigDict, on: Slice) -> dict[str, Any]:
    program = programs.compile_training(config, on)
    cost = cost_of(program.compiled, len(on.devices))
    # The compiler counts the body of the loop over the parts of a batch once.
    numbers = _numbers(program, cost._replace(flops=cost.flops * config.train.accumulate), on)
    return numbers | {"days": numbers["bound_seconds"] * config.train.steps / _DAY}


def _sampling(config: ml_collections.ConfigDict, on: Slice) -> dict[str, Any]:
    """The numbers of one step, averaged over all steps; the compiler's FLOPs are those of the loop's body already."""
    program = programs.compile_sampling(config, on)
    steps, evaluations = programs.sampler_steps(config)
    cost = cost_of(program.compiled, len(on.devices))
    cost = cost._replace(hbm_bytes=cost.hbm_bytes / steps, exchanged_bytes=cost.exchanged_bytes / steps)
    numbers = _numbers(program._replace(model_flops=program.model_flops // steps), cost, on)
    evaluation = programs.compile_evaluation(config, on)
    if evaluation is None:
        del numbers["flops_over_model"]  # the compiled program may also encode a picture, once for all steps
    else:
        single = evaluations * cost_of(evaluation.compiled, len(on.devices)).hbm_bytes
        numbers["bytes_over_evaluation"] = numbers["hbm_bytes"] / single
    return numbers


def _numbers(program: Program, cost: Cost, on: Slice) -> dict[str, Any]:
    model_flops = program.model_flops
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
