"""The training step and the sampler of a config, compiled for the devices of a TPU slice without the slice itself."""

from typing import Any, NamedTuple, cast

import jax
import ml_collections
import numpy as np

from bitdiff.data.complexes import sizes_of
from bitdiff.data.dataset import Arrays
from bitdiff.diffusion.step_rules import RULES
from bitdiff.evaluation.timing import no_cache
from bitdiff.planning.slices import Slice
from bitdiff.runtime import flops
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import Task, docking_model, make_task, network_evaluations, sample_options
from bitdiff.tasks.sample_batches import compile_sampler
from bitdiff.training.optimizer import optimizer_of
from bitdiff.training.state import init_state
from bitdiff.training.step import Rows, make_train_step

_SIZES = {  # sizes that config.data must state, by what the task generates
    "image": ("image_size", "channels"),
    "tokens": ("length",),
    "point": ("channels",),
    "pose": ("atoms", "length"),
}


class NotCompiledError(Exception):
    """The compiler's message about a program that does not compile or does not fit in the devices' memory."""


class Program(NamedTuple):
    """A compiled program.

    compiled: jax's compiled program.
    model_flops: FLOPs of the model's matrix products and convolutions per device, counted in the traced function.
    rows: examples per device.
    """

    compiled: Any
    model_flops: int
    rows: int


def training_rows(config: ml_collections.ConfigDict, count: int) -> int:
    """The number of a training batch's examples that each of `count` devices processes.

    Raises:
      UsageError: the batch size is not divisible by the number of devices, or their part of it by `accumulate`.
    """
    size, accumulate = config.train.batch_size, config.train.accumulate
    if size < 1 or size % count:
        raise UsageError(
            f"config.train.batch_size is {size}; it must be a positive multiple of {count}, the number of devices in "
            "the slice"
        )
    if size // count % accumulate:
        raise UsageError(
            f"config.train.accumulate is {accumulate}; it must divide the {size // count} examples per device"
        )
    return size // count


def blank_examples(config: ml_collections.ConfigDict, task: Task) -> dict[str, np.ndarray]:
    """One example of zeros with the shapes that the config states, so that no data set is needed: arrays [1, ...].

    Raises:
      UsageError: the config leaves a size to be taken from the data.
    """
    data = config.data
    sizes = _SIZES[task.field]
    missing = [name for name in (*sizes, *(("image_size", "channels") if config.encoder else ())) if not data[name]]
    if missing:
        raise UsageError(f"config.data.{missing[0]} is 0 (to be inferred from the data); bitdiff.plan needs its value")
    if task.field == "pose":
        arrays = docking_model.blank_examples(sizes_of(data))
        sampled = {"sampled": arrays["pose"], "deviation": np.zeros(1, np.float32)}
        return arrays | (sampled if config.task == "confidence" else {})
    image = np.zeros((1, data.image_size, data.image_size, data.channels), np.uint8)
    captions = (data.captions_drawn or data.captions,) if config.encoder else ()
    arrays = {
        "image": {"image": image},
        "tokens": {"tokens": np.zeros((1, *captions, data.length), np.int32)},
        "point": {"point": np.zeros((1, data.channels), np.float32)},
    }[task.field]
    if config.encoder:
        arrays |= {"image": image}
    return arrays | ({"label": np.zeros(1, np.int32)} if data.num_classes else {})


def compile_training(config: ml_collections.ConfigDict, on: Slice) -> Program:
    """The training step of a config with its batch size, dtype, accumulation and rematerialization.

    Raises:
      UsageError: the batch size is not divisible by the number of devices.
      NotCompiledError: the program does not compile or fit.
    """
    task = make_task(config)
    count = len(on.devices)
    rows = training_rows(config, count)
    optimizer = optimizer_of(config, task)
    state = jax.eval_shape(lambda: init_state(task.init(jax.random.key(0)), optimizer))
    examples = blank_examples(config, task)
    step = make_train_step(
        task,
        optimizer,
        ema_decay=config.optimizer.ema_decay,
        accumulate=config.train.accumulate,
        key=jax.random.key(0),
        on=on.devices,
    )
    batch = Rows(examples, np.zeros(1, np.int32), np.zeros(1, np.float32))
    mapped = jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, rows, *a.shape[1:]), a.dtype), batch)
    one = {name: jax.ShapeDtypeStruct((rows, *a.shape[1:]), a.dtype) for name, a in examples.items()}
    keys = jax.eval_shape(lambda: jax.random.split(jax.random.key(0), rows))
    counted = flops.count_gradient(task.loss, state.params, one, keys, has_aux=True)
    return Program(_compile(step, state, mapped), counted, rows)


def compile_sampling(config: ml_collections.ConfigDict, on: Slice) -> Program:
    """The whole sampler of a config, with its options and its batch size, rounded up as in `bitdiff.sample`.

    Raises:
      NotCompiledError: the program does not compile or fit.
    """
    task, options = make_task(config), sample_options(config.sample)
    count = len(on.devices)
    rows = -(-config.sample.batch_size // count)
    params = jax.eval_shape(task.init, jax.random.key(0))
    condition, keys = _conditions(config, task, rows)
    mapped = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((count, *a.shape), a.dtype), {"condition": condition, "key": keys}
    )

    def sample(params, condition, keys):
        return task.sample(params, condition, keys, options)

    counted = flops.count(sample, params, condition, keys)
    return Program(_compile(compile_sampler(task, options, on.devices), params, mapped), counted, rows)


def compile_evaluation(config: ml_collections.ConfigDict, on: Slice) -> Program | None:
    """One network evaluation on the examples that each device samples at a time, compiled for all devices of the slice.

    Returns None if sampling is not a sequence of such evaluations.

    Raises:
      NotCompiledError: the program does not compile or fit.
    """
    task = make_task(config)
    if task.network is None:
        return None
    rows = -(-config.sample.batch_size // len(on.devices))
    network = task.network
    params = jax.eval_shape(task.init, jax.random.key(0))
    inputs = _conditions(config, task, rows)

    def evaluate(params, inputs):
        condition, _ = inputs  # the keys are there because the condition may be empty, and pmap maps at least one array
        return network(params, condition, rows)

    step = jax.pmap(evaluate, in_axes=(None, 0), devices=on.devices)
    mapped = jax.tree.map(lambda a: jax.ShapeDtypeStruct((len(on.devices), *a.shape), a.dtype), inputs)
    return Program(_compile(step, params, mapped), flops.count(evaluate, params, inputs), rows)


def sampler_steps(config: ml_collections.ConfigDict) -> tuple[int, int]:
    """How often the sampler's loop runs, and the network evaluations in each step of it.

    An autoregressive model evaluates the network once per token. Heun's method needs one evaluation less in its last
    step.
    """
    options = sample_options(config.sample)
    evaluations = network_evaluations(options, make_task(config))
    if not evaluations:
        return config.data.length, 1
    rule = RULES.get(options.sampler)
    each = 2 if rule is not None and rule.correct is not None else 1
    return -(-evaluations // each), each


def _conditions(config: ml_collections.ConfigDict, task: Task, rows: int) -> tuple[dict[str, Any], Any]:
    """Shapes of what `rows` samples are conditioned on, and of their keys."""
    examples = Arrays(blank_examples(config, task)) if task.uses_examples else None
    condition = task.condition(np.arange(rows), None, examples)
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), np.asarray(a).dtype), condition)
    return shapes, jax.eval_shape(lambda: jax.random.split(jax.random.key(0), rows))


def _compile(function: Any, *shapes: Any) -> Any:
    try:
        with no_cache():  # jax can cache programs compiled for devices it lacks, but cannot read them back
            return cast(Any, function).lower(*shapes).compile()
    except jax.errors.JaxRuntimeError as error:
        raise NotCompiledError(" ".join(str(error).split())[:300]) from error
