"""A trained model, opened from the workdir of a run, from an exported folder, or by the name of a shipped model."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np

from bitdiff.configuration.checking import CUSTOM
from bitdiff.data import Source
from bitdiff.data.dataset import Arrays
from bitdiff.data.loading import OWN_VOCABULARY
from bitdiff.data.tokenizer import Tokenizer
from bitdiff.inference import exported
from bitdiff.inference.draws import Draw, draw
from bitdiff.runtime import devices, memory
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks import SampleOptions, Task, make_task, sample_options
from bitdiff.tasks.sample_batches import local_size
from bitdiff.training import workdir
from bitdiff.training.checkpoints import Checkpoints
from bitdiff.training.optimizer import optimizer_of
from bitdiff.training.schedule_file import sampling_levels
from bitdiff.training.state import init_state

WEIGHTS = ("ema", "raw")
_SHIPPED = Path(__file__).parents[1] / "models"


class Trained(NamedTuple):
    """A trained model, with its parameters replicated over the local devices.

    folder: where it was opened from; None for a model that was trained in a temporary folder.
    config: its resolved config.
    task: the model.
    params: its parameters.
    step: the training step of the weights.
    weights: 'ema' for the moving average of the weights, 'raw' for the weights themselves.
    tokenizer: the tokenizer of its tokens, if they are text.
    """

    folder: Path | None
    config: ml_collections.ConfigDict
    task: Task
    params: Any
    step: int
    tokenizer: Tokenizer | None
    weights: str = "ema"

    def sample(
        self,
        num_samples: int | None = None,
        *,
        labels: Sequence[int] | None = None,
        images: np.ndarray | None = None,
        known: np.ndarray | None = None,
        examples: Mapping[str, np.ndarray] | None = None,
        seed: int = 0,
        batch_size: int | None = None,
        **options: Any,
    ) -> dict[str, np.ndarray]:
        """Draws samples; sample i depends only on (seed, i) and what it is conditioned on.

        Args:
          num_samples: number of samples, 1 or more; by default one per example, otherwise the config's.
          labels: classes assigned to the samples in turn; by default all classes.
          images: uint8 [N, H, W, C] as in the training data, pictures to describe or to infer latents from, assigned in
            turn.
          known: int [N, ...], values to complete, with -1 where they are open, assigned in turn.
          examples: arrays [N, ...] by name that a condition of your own takes, assigned in turn.
          seed: seed of the noise, 0 to 2^31 - 1.
          batch_size: samples per batch over all devices; by default the config's.
          **options: fields of SampleOptions that differ from the config, e.g. steps=50, td=1.0, sampler="ddpm".

        Returns:
          Arrays [num_samples, ...] by name: 'image' (uint8), 'tokens' (int32) or 'point' (float32), 'label' or
          'latents' if the model has them, 'text' if the tokens are text, 'invalid' (the fraction of invalid codes),
          and 'histogram' of the analog bits.

        Raises:
          UsageError: an option that is unsupported or out of range, or arrays that do not fit.
        """
        source = _source(self.config, images, known, examples)
        if num_samples is None:
            num_samples = self.config.sample.num_samples if source is None else len(source)
        if num_samples < 1 or not 0 <= seed < 2**31:
            raise UsageError(
                f"num_samples is {num_samples} and seed {seed}; they must be 1 or more, and from 0 to 2^31 - 1"
            )
        size = self.config.sample.batch_size if batch_size is None else batch_size
        request = Draw(sample_options(self.config.sample, **options), num_samples, seed, size)
        check_examples(self, request.options, source)
        labels = None if labels is None else tuple(int(label) for label in labels)
        return with_texts(self, draw(self.task, self.params, request, labels=labels, examples=source))


def load(
    folder: str | Path,
    *,
    checkpoint: str | None = None,
    weights: str = "ema",
    prior_steps: int | None = None,
    task: Task | None = None,
) -> Trained:
    """Opens a trained model; nothing in the folder is changed.

    Args:
      folder: the workdir of a run, an exported folder, or the name of a model that bitdiff ships ('digits').
      checkpoint: a step or 'best'; by default the latest checkpoint that can be read.
      weights: 'ema' for the moving average of the weights, or 'raw' for the weights of the last step.
      prior_steps: sampling steps of a Bit Diffusion prior, in place of config.prior.sample.steps.
      task: the task of a run whose network or task is not described by its config.

    Raises:
      UsageError: the folder holds no model, no finished checkpoint, or none that can be read.
    """
    choose("weights", weights, WEIGHTS)
    folder = resolve_folder(folder)
    config = workdir.load_config(folder)
    if task is None and config.network.get("name") == CUSTOM:
        raise UsageError(f"{folder} was trained with a custom network or task: pass it to bitdiff.load as task=...")
    if prior_steps is not None:
        if config.task != "prior" or config.prior.model != "bits":
            raise UsageError(f"--prior_steps is for second stages with a Bit Diffusion prior; {folder} holds none")
        config.prior.sample.steps = prior_steps
    if config.task == "prior":
        config.prior.sample.schedule_options.levels = config.diffusion.schedule_options.levels
    else:
        config.sample.schedule_options.levels = sampling_levels(config, folder)
    try:
        task = make_task(config) if task is None else task
        optimizer = optimizer_of(config, task)
        sample_options(config.sample)
        tokenizer = workdir.load_tokenizer(folder, config)
        metric = config.checkpoint.best_metric if checkpoint == "best" else ""
    except (AttributeError, KeyError) as error:
        raise UsageError(
            f"{folder} was trained with an incompatible version of bitdiff: {' '.join(str(error).split())}; use the "
            "version that trained it, or retrain it"
        ) from error
    if tokenizer and config.data.name not in OWN_VOCABULARY:
        config.data.tokenizer = str(folder / "tokenizer.model")  # the run's own tokenizer may have moved
    if exported.is_export(folder):
        if checkpoint is not None or weights != "ema":
            raise UsageError(
                f"--checkpoint and --weights are for workdirs; {folder} is an exported model, which holds the moving "
                "average of one step"
            )
        params, step = exported.read_weights(folder, jax.eval_shape(task.init, jax.random.key(0)))
        return Trained(folder, config, task, devices.replicate(params), step, tokenizer)
    abstract = jax.eval_shape(lambda: init_state(task.init(jax.random.key(0)), optimizer))
    with Checkpoints(folder, read_only=True) as checkpoints:
        chosen = checkpoints.choose(checkpoint, metric) if checkpoint else None
        restored = checkpoints.restore(abstract, step=chosen)
    if restored is None:
        raise UsageError(
            f"{folder} holds no finished checkpoint yet; training writes one every config.checkpoint.every_steps"
        )
    params = restored.state.ema_params if weights == "ema" else restored.state.params
    return Trained(folder, config, task, params, restored.step, tokenizer, weights)


def resolve_folder(folder: str | Path) -> Path:
    """The folder of a model: the path if it holds one, or otherwise the folder of the shipped model of that name.

    Raises:
      UsageError: there is neither.
    """
    path = Path(folder)
    if (path / "config.json").exists() or (path / "checkpoints").exists():
        return path
    names = sorted(entry.name for entry in _SHIPPED.iterdir()) if _SHIPPED.is_dir() else []
    if str(folder) in names:
        return _SHIPPED / path
    if path.exists():
        return path
    raise UsageError(
        f"there is no folder {folder}; it must be the workdir of a run, an exported model, or the name of a model that "
        f"bitdiff ships: {', '.join(names)}"
    )


def report_folder(run: Trained) -> Path:
    """Where reports about a model are written: the workdir of a run; the current folder for an exported model.

    Raises:
      UsageError: the model was trained in a temporary folder.
    """
    if run.folder is None:
        raise UsageError("the model was trained without a workdir; pass workdir=... to bitdiff.fit to keep reports")
    return Path() if exported.is_export(run.folder) else run.folder


def check_examples(run: Trained, options: SampleOptions, examples: Source | None) -> None:
    """Checks that a model gets the examples it requires.

    Raises:
      UsageError: a model that describes pictures gets none, a docking model gets no complexes, or one that samples
        only with latents cannot infer them.
    """
    offered = set() if examples is None else set(examples[0])
    if run.task.field == "pose" and "atoms" not in offered:
        raise UsageError("docking samples poses in given complexes: pass them as examples, such as those of its data")
    if run.config.get("encoder") and "image" not in offered:
        raise UsageError("this model describes pictures: pass a folder of them as --images (in Python, images=...)")
    if run.task.infer is None or run.task.field in offered:
        return
    if run.config.latents.dropout == 0:
        raise UsageError(
            "the model was trained with config.latents.dropout=0 and cannot sample without latents: pass --images (in "
            "Python, images=...), or sample from a second stage"
        )
    if options.latent_guidance:
        raise UsageError(
            f"latent_guidance is {options.latent_guidance}, but there are no latents: pass --images (in Python, "
            "images=...), or sample from a second stage"
        )


def check_options(run: Trained, many: Iterable[SampleOptions], batch_size: int = 1, num_samples: int = 1) -> None:
    """Traces the sampler with each set of options, so that a bad one is reported before any is compiled.

    Args:
      run: the model.
      many: the options.
      batch_size: samples per batch over all devices.
      num_samples: samples that are kept in memory.

    Raises:
      UsageError: an option that the model does not support, or a batch or samples that cannot fit in memory.
    """
    one = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), 1))
    rows = local_size(batch_size, num_samples) // jax.local_device_count()
    keys = jax.ShapeDtypeStruct((rows,), one.dtype)
    condition = {
        name: jax.ShapeDtypeStruct((rows, *array.shape[1:]), array.dtype)
        for name, array in run.task.condition(np.arange(1), None).items()
    }
    for options in many:

        def sample(params, condition, keys, options=options):
            return run.task.sample(params, condition, keys, options)

        arguments = (run.params, condition, keys)
        memory.check_trace(sample, *arguments, what="the sampler", advice=memory.SAMPLING_ADVICE)
        kept = memory.tree_bytes(jax.eval_shape(sample, *arguments)) / rows * num_samples
        if kept > memory.host_memory():
            raise UsageError(
                f"{num_samples:,} samples need {kept / 2**30:.3g} GiB of memory, but this machine has "
                f"{memory.host_memory() / 2**30:.3g} GiB; draw fewer, or in shards with --out FOLDER/"
            )


def with_texts(run: Trained, outputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The samples, with an array 'text' if their tokens are text."""
    if run.tokenizer is None:
        return outputs
    return outputs | {"text": np.array(run.tokenizer.texts(outputs["tokens"]))}


def _source(
    config: Any, images: np.ndarray | None, known: np.ndarray | None, examples: Mapping[str, np.ndarray] | None
) -> Arrays | None:
    """The examples among the arguments of `Trained.sample`; None if there are none."""
    given = [value for value in (images, known, examples) if value is not None]
    if len(given) > 1:
        raise UsageError("pass only one of images, known and examples")
    if not given:
        return None
    if images is not None:
        source = _as_examples(config, images)
    else:
        arrays = {"known": known} if examples is None else examples
        source = Arrays({name: np.asarray(array) for name, array in arrays.items()})
    if not len(source):
        raise UsageError("images, known or examples are empty; pass one example or more")
    return source


def _as_examples(config: Any, images: np.ndarray) -> Arrays:
    images, data = np.asarray(images), config.data
    shape = (data.image_size, data.image_size, data.channels)
    if images.dtype != np.uint8 or images.shape[1:] != shape:
        found = f"{images.dtype} {list(images.shape)}"
        raise UsageError(f"images are {found}; they must be uint8 [N, {', '.join(map(str, shape))}]")
    if not config.get("encoder") and images.size and images.max() >= data.vocab_size:
        raise UsageError(f"images hold the value {images.max()}; all values must be below {data.vocab_size}")
    return Arrays({"image": images})
