"""Opening a trained model and drawing from it: what the commands sample and evaluate share, flags included."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from absl import flags

from bitdiff import parallel, plans, workdir
from bitdiff.checkpoints import Checkpoints
from bitdiff.data import Source
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.errors import UsageError
from bitdiff.generate import generate
from bitdiff.logs import progress_bar
from bitdiff.state import init_state, make_optimizer
from bitdiff.tasks import SampleOptions, Task, make_task, sample_options

_OPTION_FLAGS = ("sampler", "steps", "td", "guidance", "latent_guidance", "momentum", "self_guidance", "beams", "lag")


def define_flags() -> None:
    """Defines the flags that sample and evaluate share; those not given are None."""
    define_run_flags()
    flags.DEFINE_integer("num_samples", None, "How many samples; by default the config's.", lower_bound=1)
    flags.DEFINE_integer("batch_size", None, "Samples at a time over all devices.", lower_bound=1)
    flags.DEFINE_integer(
        "seed",
        None,
        "Of the noise: sample i depends on the seed, i and its label alone.",
        lower_bound=0,
        upper_bound=2**31 - 1,
    )
    flags.DEFINE_string("sampler", None, "ddim, ddpm, ddpm_small, dpm++ or heun; autoregressive: beam, random.")
    flags.DEFINE_integer(
        "steps", None, "Steps of the sampler, each a network evaluation (heun's: two); by default the config's."
    )
    flags.DEFINE_float("td", None, "Asymmetric time intervals, in steps; by default the config's.")
    flags.DEFINE_float("guidance", None, "Classifier-free guidance, 0 for none; by default the config's.")
    flags.DEFINE_float("latent_guidance", None, "Of latents against hidden ones, 0 for none; by default the config's.")
    flags.DEFINE_list("churn", None, "EDM's S_churn, S_min, S_max, as in 40,0.05,50; by default the config's.")
    flags.DEFINE_list("restarts", None, "Of steps:times:low:high in sigma, as in 4:2:0.1:1; by default the config's.")
    flags.DEFINE_float("momentum", None, "Of the self-conditioning estimate; by default the config's.")
    flags.DEFINE_float("self_guidance", None, "Weight of guidance by self-conditioning, 0 for none.")
    flags.DEFINE_integer("beams", None, "Of an autoregressive model; by default the config's.")
    flags.DEFINE_float("lag", None, "Of a sequence's positions behind one another; by default the config's.")


def define_run_flags() -> None:
    """Defines the flags that say which trained model is opened."""
    flags.DEFINE_string("workdir", None, "The folder of a training run.", required=True)
    flags.DEFINE_string("checkpoint", None, "A step, or 'best'; by default the latest.")
    flags.DEFINE_integer("prior_steps", None, "Steps in which a second stage's prior of bits draws latents.")


def apply_flags(config: ml_collections.ConfigDict, section: ml_collections.ConfigDict) -> SampleOptions:
    """Writes the flags given into the config: how many, how large a batch, the seed, and how to sample.

    Args:
      config: of the run; its `sample` section takes the batch size and gives the options.
      section: the section, of `config`, whose num_samples and seed the command uses.
    """
    given = {name: value for name, value in flags.FLAGS.flag_values_dict().items() if value is not None}
    section.update({name: given[name] for name in ("num_samples", "seed") if name in given})
    if "batch_size" in given:
        config.sample.batch_size = given["batch_size"]
    changes = {name: given[name] for name in _OPTION_FLAGS if name in given}
    try:
        if "churn" in given:
            changes["churn"] = plans.Churn(*map(float, given["churn"]))
        if "restarts" in given:
            changes["restarts"] = tuple(_restart(*part.split(":")) for part in given["restarts"])
    except (TypeError, ValueError) as error:
        raise UsageError(f"--churn is S_churn,S_min,S_max and --restarts steps:times:low:high,...: {error}") from error
    return sample_options(config.sample, **changes)


def _restart(steps: str, times: str, low: str, high: str) -> plans.Restart:
    return plans.Restart(int(steps), int(times), float(low), float(high))


class Trained(NamedTuple):
    """A model from a workdir: the moving average of its weights, replicated over the local devices.

    tokenizer: what its tokens stand for, where they stand for text.
    """

    folder: Path
    config: ml_collections.ConfigDict
    task: Task
    params: Any
    step: int
    tokenizer: Tokenizer | None


def open_run(folder: Path, checkpoint: str | None = None, prior_steps: int | None = None) -> Trained:
    """Opens a checkpoint in a workdir, the latest readable one or that of a step or the 'best'.

    It needs that folder alone and changes nothing in it.

    Args:
      folder: the workdir.
      checkpoint: a step or 'best'.
      prior_steps: takes the place of config.prior.sample.steps, of a prior of bits.

    Raises:
      UsageError: there is no run in the folder, or no checkpoint, or none that can be read.
    """
    config = workdir.load_config(folder)
    if prior_steps is not None:
        if config.task != "prior" or config.prior.model != "bits":
            raise UsageError(f"--prior_steps is for second stages with a prior of bits; {folder} holds none")
        config.prior.sample.steps = prior_steps
    try:
        task = make_task(config)
        optimizer = make_optimizer(config.optimizer, config.train.steps, task.frozen)
        sample_options(config.sample)
        pieces = workdir.load_tokenizer(folder, config)
        if pieces and config.data.name != "shapes":
            config.data.tokenizer = str(folder / "tokenizer.model")  # wherever the run's own was
        metric = config.checkpoint.best_metric if checkpoint == "best" else ""
    except (AttributeError, KeyError) as error:
        raise UsageError(
            f"the config of {folder} is of another version of bitdiff: {' '.join(str(error).split())}; "
            "use the version that trained it, or train it again"
        ) from error
    abstract_state = jax.eval_shape(lambda: init_state(task.init(jax.random.key(0)), optimizer))
    with Checkpoints(folder, read_only=True) as checkpoints:
        step = checkpoints.choose(checkpoint, metric) if checkpoint else None
        restored = checkpoints.restore(abstract_state, step=step)
    if restored is None:
        raise UsageError(f"{folder} holds no finished checkpoint yet; one comes every config.checkpoint.every_steps")
    return Trained(folder, config, task, restored.state.ema_params, restored.step, pieces)


def check_options(run: Trained, many: Iterable[SampleOptions]) -> None:
    """Traces sampling with each of the options, so that a bad one is named before the first is compiled."""
    condition = run.task.condition(np.arange(1), None)
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    for options in many:
        jax.eval_shape(lambda *args, options=options: run.task.sample(*args, options), run.params, condition, keys)


def draw(
    run: Trained,
    options: SampleOptions,
    *,
    num_samples: int,
    seed: int,
    labels: tuple[int, ...] | None = None,
    images: Source | None = None,
) -> dict[str, np.ndarray]:
    """Draws samples with a progress bar: arrays [num_samples, ...] by name, the same in every process.

    Each process draws its share on its own devices; sample i is the same whoever draws it. A model that describes
    pictures takes them from `images`.
    """
    share = parallel.my_share(num_samples)
    outputs = draw_range(
        run, options, share.start, max(share.stop, share.start + 1), seed=seed, labels=labels, images=images
    )
    outputs = {name: array[: len(share)] for name, array in outputs.items()}  # a share may be empty
    return parallel.gather(outputs)


def draw_range(
    run: Trained,
    options: SampleOptions,
    first: int,
    end: int,
    *,
    seed: int,
    labels: tuple[int, ...] | None = None,
    images: Source | None = None,
) -> dict[str, np.ndarray]:
    """Draws samples first to end - 1 on this process's devices, with a progress bar."""
    batches = []
    with progress_bar("sampling", "sample", total=end, initial=first, shown=parallel.is_main()) as bar:
        for batch in generate(
            run.task,
            run.params,
            options,
            num_samples=end,
            batch_size=run.config.sample.batch_size,
            seed=seed,
            labels=labels,
            images=images,
            first=first,
        ):
            batches.append(batch)
            bar.update(len(batch["invalid"]))
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}
