"""The flags of commands that sample from a trained model, read into typed requests."""

from pathlib import Path
from typing import Any, NamedTuple

from absl import flags

from bitdiff.cli.command import given
from bitdiff.evaluation.sweep_cells import AXES
from bitdiff.inference.draws import Draw
from bitdiff.inference.trained import WEIGHTS, Trained, load
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import GUIDANCE, SampleOptions, sample_options


class RunRequest(NamedTuple):
    """Which trained model to open."""

    folder: Path
    checkpoint: str | None
    weights: str
    prior_steps: int | None

    def open(self) -> Trained:
        """Opens the model."""
        return load(self.folder, checkpoint=self.checkpoint, weights=self.weights, prior_steps=self.prior_steps)


class DrawRequest(NamedTuple):
    """Which samples to draw; None and missing options default to the config's.

    changes: options that differ from the config.
    """

    num_samples: int | None
    batch_size: int | None
    seed: int | None
    changes: dict[str, Any]

    def options(self, run: Trained) -> SampleOptions:
        """The options of the run's config with the changes."""
        return sample_options(run.config.sample, **self.changes)

    def resolve(self, run: Trained, section: Any) -> Draw:
        """The samples to draw; missing values are those of `section`, the run config's `sample` or `evaluate`."""
        count = section.num_samples if self.num_samples is None else self.num_samples
        seed = section.seed if self.seed is None else self.seed
        size = run.config.sample.batch_size if self.batch_size is None else self.batch_size
        return Draw(self.options(run), count, seed, size)


def define_run_flags() -> None:
    """Defines the flags that select a trained model."""
    flags.DEFINE_string(
        "workdir", None, "Folder of a run or an exported model, or the name of a shipped model.", required=True
    )
    flags.DEFINE_string("checkpoint", None, "Step of a checkpoint, or 'best'; by default the latest.")
    flags.DEFINE_enum(
        "weights",
        "ema",
        WEIGHTS,
        "Weights: their moving average (ema) or those of the last step (raw); by default ema.",
    )
    flags.DEFINE_integer("prior_steps", None, "Sampling steps of a Bit Diffusion prior; by default the config's.")


def read_run() -> RunRequest:
    """Reads the flags of `define_run_flags` into a request."""
    values = flags.FLAGS
    return RunRequest(Path(values.workdir), values.checkpoint, values.weights, values.prior_steps)


def define_draw_flags() -> None:
    """Defines the flags that sample and evaluate share; all default to the config's values."""
    flags.DEFINE_integer("num_samples", None, "Number of samples; by default the config's.", lower_bound=1)
    flags.DEFINE_integer(
        "batch_size", None, "Samples per batch over all devices; by default the config's.", lower_bound=1
    )
    flags.DEFINE_integer(
        "seed", None, "Seed of the noise; by default the config's.", lower_bound=0, upper_bound=2**31 - 1
    )
    flags.DEFINE_string(
        "sampler",
        None,
        "Sampler: ddim, ddpm, ddpm_small, dpm++ or heun; beam or random for autoregressive models; ancestral or "
        "confidence for masked diffusion; sde, ode or ancestral for docking; by default the config's.",
    )
    flags.DEFINE_string(
        "schedule",
        None,
        "Sampling schedule: auto, cosine, linear, sigmoid, karras, lognormal, or measured (by bitdiff.schedule); by "
        "default the config's.",
    )
    flags.DEFINE_integer(
        "steps", None, "Sampling steps, with one network evaluation each (two with heun); by default the config's."
    )
    flags.DEFINE_float(
        "td",
        None,
        "Asymmetric time intervals, in steps; a larger td sharpens the distribution; by default the config's.",
    )
    flags.DEFINE_float("lag", None, "Lag of a sequence's positions; by default the config's.")
    for weight, condition in GUIDANCE.items():
        flags.DEFINE_float(
            weight, None, f"Weight of classifier-free guidance on {condition}, 0 for none; by default the config's."
        )
    flags.DEFINE_list("churn", None, "EDM's S_churn,S_min,S_max, as in 40,0.05,50; by default the config's.")
    flags.DEFINE_float(
        "churn_fraction",
        None,
        "Rise of sigma before each step, as a fraction of it, in place of S_churn; by default the config's.",
    )
    flags.DEFINE_list(
        "restarts", None, "Restarts as steps:times:low:high in sigma, as in 4:2:0.1:1; by default the config's."
    )
    flags.DEFINE_float("momentum", None, "Momentum of the self-conditioning estimate; by default the config's.")
    flags.DEFINE_float(
        "self_guidance", None, "Weight of self-conditioning guidance, 0 for none; by default the config's."
    )
    flags.DEFINE_float(
        "temperature",
        None,
        "Sampling temperature of rotations and torsion angles in docking, or scale of the noise on the confidence in "
        "masked diffusion's confidence sampler; by default the config's.",
    )
    flags.DEFINE_integer("beams", None, "Beams of an autoregressive model; by default the config's.")


def read_draw() -> DrawRequest:
    """Reads the flags of `define_draw_flags` into a request.

    Raises:
      UsageError: --churn or --restarts has the wrong form.
    """
    values = flags.FLAGS
    changes = given(*AXES)
    try:
        if values.churn is not None:
            low, middle, high = map(float, values.churn)
            changes["churn"] = (low, middle, high)
        if values.restarts is not None:
            changes["restarts"] = tuple(_restart(*part.split(":")) for part in values.restarts)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"--churn must be S_churn,S_min,S_max and --restarts steps:times:low:high,...: {error}"
        ) from error
    return DrawRequest(values.num_samples, values.batch_size, values.seed, changes)


def _restart(steps: str, times: str, low: str, high: str) -> tuple[int, int, float, float]:
    return int(steps), int(times), float(low), float(high)
