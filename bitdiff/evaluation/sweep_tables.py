"""The tables and curves of a sweep."""

from bitdiff.evaluation.sweep_cells import AXES, Scores
from bitdiff.tasks import GUIDANCE, SampleOptions

Rows = list[tuple[SampleOptions, Scores]]
_IMAGES, _TOKENS, _POSES = ("fid", "swd", "frechet_pixels"), ("tv", "marginal_tv"), ("known_below_2", "rmsd_below_2")
# The score to plot if none is named: the first of these that was measured.
PREFERRED = (*_IMAGES, *_TOKENS, "w2", "CIDEr", "true", *_POSES)
_ALWAYS = ("sampler", "steps", "td")


def markdown(rows: Rows) -> str:
    """A table of all cells: every score, and the options that differ between cells or are in _ALWAYS."""
    names = list(dict.fromkeys(name for _, scores in rows for name in scores))
    axes = [axis for axis in AXES if axis in _ALWAYS or len({getattr(options, axis) for options, _ in rows}) > 1]
    lines = [[*axes, *names], ["---"] * (len(axes) + len(names))]
    for options, scores in rows:
        values = [f"{getattr(options, axis)}" for axis in axes]
        lines.append(values + [f"{scores[name]:.4g}" if name in scores else "" for name in names])
    return _table(lines)


def grids(rows: Rows, score: str) -> str:
    """Tables of one score by steps (rows) and td (columns), like Table 4 of the paper.

    There is one table for each combination of the other axes with several values of both.
    """
    found: dict[str, dict[tuple[int, float], float]] = {}
    for options, scores in rows:
        if score in scores:
            others = ", ".join(f"{axis} {getattr(options, axis)}" for axis in AXES if axis not in ("steps", "td"))
            found.setdefault(others, {})[options.steps, options.td] = scores[score]
    text = ""
    for others, values in found.items():
        steps, tds = (sorted(set(axis)) for axis in zip(*values, strict=True))
        if len(steps) > 1 and len(tds) > 1:
            lines = [[f"{score}: steps", *(f"td {td:g}" for td in tds)], ["---"] * (1 + len(tds))]
            lines += [[f"{n}", *(f"{values[n, td]:.4g}" if (n, td) in values else "" for td in tds)] for n in steps]
            text += f"\n{others}\n\n{_table(lines)}"
    return text


def curves(rows: Rows, score: str) -> dict[str, dict[float, float]]:
    """The score against td, one curve for each combination of the other options."""
    lines: dict[str, dict[float, float]] = {}
    for options, scores in rows:
        name = f"{options.sampler}, {options.steps} steps"
        if options.schedule != "auto":
            name += f", {options.schedule}"
        for axis in ("lag", "churn_fraction", *GUIDANCE, "self_guidance", "momentum"):
            if getattr(options, axis):
                name += f", {axis.replace('_', ' ')} {getattr(options, axis):g}"
        if options.temperature != 1:
            name += f", temperature {options.temperature:g}"
        if options.beams != 1:
            name += f", {options.beams} beams"
        lines.setdefault(name, {})[options.td] = scores[score]
    return lines


def _table(lines: list[list[str]]) -> str:
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
