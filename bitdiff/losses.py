"""Where models lose: python -m bitdiff.losses --workdirs runs/a,runs/b --out losses.png.

The loss of test examples against t (1 is noise), by the moving average of the weights, each example at many times.
Labels and latents are hidden as often as in training.
"""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import flags

from bitdiff import commands, data, files, inference, parallel, plots
from bitdiff.data.dataset import stack
from bitdiff.errors import UsageError
from bitdiff.logs import table

_BATCH = 256


def against_t(run: inference.Trained, examples: int, rounds: int, bins: int, seed: int) -> dict[float, float]:
    """The mean loss in equal intervals of t, by their middles.

    Args:
      run: a model that is trained at random times.
      examples: of the test set, at most.
      rounds: how often each is used, each time at another t and with other noise.
      bins: how many intervals.
      seed: of times and noise; two runs on the same data meet the same.

    Raises:
      UsageError: a model without time, or data without test examples.
    """
    if run.task.losses is None:
        raise UsageError(f"{run.folder} holds a model of another kind: its loss knows no time")
    dataset = data.load(run.config.data)
    if not len(dataset.test):
        raise UsageError(f"the data of {run.folder} have no test examples; set config.data.test_fraction")
    arrays = stack(dataset.test, examples)
    losses = jax.jit(run.task.losses)
    params = jax.tree.map(jnp.asarray, jax.device_get(run.params))
    count = len(next(iter(arrays.values())))
    found = []
    for i in range(0, rounds * count, _BATCH):
        index = np.arange(i, i + _BATCH)
        keys = jax.vmap(jax.random.fold_in, (None, 0))(jax.random.key(seed), jnp.asarray(index, jnp.uint32))
        batch = {name: jnp.asarray(array[index % count]) for name, array in arrays.items()}
        found.append(np.stack(jax.device_get(losses(params, batch, keys))))
    loss, t = np.concatenate(found, axis=1)
    which = np.minimum((t * bins).astype(int), bins - 1)
    return {(i + 0.5) / bins: float(loss[which == i].mean()) for i in range(bins) if i in which}


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_list("workdirs", None, "The folders of training runs, separated by commas.", required=True)
    flags.DEFINE_string("out", "losses.png", "The picture to write; the numbers go beside it as .json.")
    flags.DEFINE_integer("examples", 1_000, "Test examples, at most.", lower_bound=1)
    flags.DEFINE_integer("rounds", 20, "Times at which each is looked at.", lower_bound=1)
    flags.DEFINE_integer("bins", 10, "Intervals of t.", lower_bound=1)
    flags.DEFINE_integer("seed", 0, "Of times and noise.", lower_bound=0)


def main() -> None:
    """The command."""
    out = commands.out_file(".png")
    values = flags.FLAGS
    lines = {}
    for folder in map(Path, values.workdirs):
        run = inference.open_run(folder)
        lines[str(folder)] = against_t(run, values.examples, values.rounds, values.bins, values.seed)
    if not parallel.is_main():
        return
    plots.curves(out, lines, x_label="t (1 is noise)", y_label="loss")
    files.write_text(out.with_suffix(".json"), json.dumps(lines, indent=2) + "\n")
    middles = sorted({t for line in lines.values() for t in line})
    print(table([("t", "  ".join(f"{t:<8.3g}" for t in middles))]))
    print(
        table(
            [(name, "  ".join(f"{line.get(t, float('nan')):<8.4g}" for t in middles)) for name, line in lines.items()]
        )
    )
    print(f"written to {out} and {out.with_suffix('.json')}")


if __name__ == "__main__":
    define_flags()
    commands.run(main)
