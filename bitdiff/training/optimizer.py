"""The optimizer: Adam or Muon, with gradient clipping and a learning rate schedule."""

import re
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks import Task

OPTIMIZERS = ("adam", "muon")
# The matrices within attention, MLPs and convolutional blocks; not embeddings, modulations, or first and last layers.
_HIDDEN = re.compile(
    r"(attention\d*|cross)/|mlp_(in|out)\d*/|block\d+/(conv_in|conv_out|shortcut)/|(stem|hidden)[1-9]\d*/"
)
# Muon's own coefficients; as a sequence, they make optax loop over the iterations, which compiles faster.
_NEWTON_SCHULZ = ((3.4445, -4.7750, 2.0315),) * 5
_MUON_RMS = 0.2  # root mean square of the update over the learning rate, as for Adam (arXiv 2502.16982)


def learning_rate(options: Any, total_steps: int) -> optax.Schedule:
    """Linear warm-up from 0, then constant, or decaying to 0 at `total_steps` ('linear', 'cosine').

    Raises:
      UsageError: an unknown schedule name, or a decay that ends before the warm-up.
    """
    peak, warmup = options.learning_rate, options.warmup_steps
    decay_steps = total_steps - warmup
    choose("learning rate schedule", options.schedule, ("constant", "linear", "cosine"))
    if options.schedule == "constant":
        after = optax.constant_schedule(peak)
    elif decay_steps < 1:
        raise UsageError(
            f"config.train.steps is {total_steps}, but a {options.schedule} decay after "
            f"config.optimizer.warmup_steps = {warmup} needs more steps than that; raise the one or lower the other"
        )
    elif options.schedule == "linear":
        after = optax.linear_schedule(peak, 0.0, decay_steps)
    else:
        after = optax.cosine_decay_schedule(peak, decay_steps)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup]) if warmup else after


def optimizer_of(config: Any, task: Task) -> optax.GradientTransformation:
    """The optimizer that a config describes for its task.

    Raises:
      UsageError: config.optimizer.freeze_steps is set, but the task has no copied layers; see also `make_optimizer`.
    """
    if config.optimizer.freeze_steps and not task.copied:
        raise UsageError(
            f"config.optimizer.freeze_steps is {config.optimizer.freeze_steps}, but only a prior over pointers or a "
            "confidence model has layers that it can freeze; set it to 0"
        )
    return make_optimizer(config.optimizer, config.train.steps, task.frozen, task.copied)


def make_optimizer(
    options: Any, total_steps: int, frozen: tuple[str, ...] = (), copied: tuple[str, ...] = ()
) -> optax.GradientTransformation:
    """Adam (AdamW with weight_decay > 0), or Muon, after clipping by the global norm (clip_norm > 0).

    Muon orthogonalizes the update of every hidden matrix, scaled so that Adam's learning rates suit it; a
    convolution's kernel [h, w, in, out] is the matrix [h w in, out]. All other weights are updated by Adam with
    Nesterov momentum, as in optax.

    Args:
      options: a config's `optimizer` section.
      total_steps: training steps, over which the learning rate decays.
      frozen: entries of the parameters that are not updated.
      copied: subtrees of the parameters, such as 'prior/trunk', that are frozen for the first options.freeze_steps
        steps, as are the optimizer's moments for them. Their gradients still count toward the norm that is clipped.

    Raises:
      UsageError: an unknown name; see also `learning_rate`.
    """
    choose("optimizer (config.optimizer.name)", options.name, OPTIMIZERS)
    clip = optax.clip_by_global_norm(options.clip_norm) if options.clip_norm > 0 else optax.identity()
    rate, freeze_steps = learning_rate(options, total_steps), options.freeze_steps
    if copied and freeze_steps:
        shifted: Any = _updates(options, lambda count: rate(count + freeze_steps))
        late = optax.conditionally_mask(shifted, lambda step, **_: jnp.asarray(step) >= freeze_steps)
        parts: dict[Any, Any] = {"trained": _updates(options, rate), "copied": late, "frozen": optax.set_to_zero()}
        return optax.chain(clip, optax.multi_transform(parts, partial(_labels, frozen=frozen, copied=copied)))
    optimizer = optax.chain(clip, _updates(options, rate))
    if not frozen:
        return optimizer
    parts: dict[Any, Any] = {"trained": optimizer, "frozen": optax.set_to_zero()}
    return optax.multi_transform(parts, partial(_labels, frozen=frozen, copied=()))


def _updates(options: Any, rate: optax.Schedule) -> optax.GradientTransformation:
    """The optimizer without clipping."""
    if options.name == "adam":
        return optax.adamw(rate, b1=options.b1, b2=options.b2, eps=options.eps, weight_decay=options.weight_decay)
    return optax.contrib.muon(
        rate,
        ns_coeffs=_NEWTON_SCHULZ,
        eps=options.eps,
        weight_decay=options.weight_decay,
        adam_b1=options.b1,
        adam_b2=options.b2,
        adam_weight_decay=options.weight_decay,
        muon_weight_dimension_numbers=_hidden_matrices,
        consistent_rms=_MUON_RMS,
    )


def _labels(params: Any, frozen: tuple[str, ...], copied: tuple[str, ...]) -> dict[str, Any]:
    """A prefix tree of the parameters with the labels 'frozen', 'copied' and 'trained'."""
    found: dict[str, Any] = {name: "frozen" if name in frozen else "trained" for name in params}
    for path in copied:
        outer, inner = path.split("/")
        found[outer] = {name: "copied" if name == inner else "trained" for name in params[outer]}
    return found


def _hidden_matrices(params: Any) -> Any:
    """Muon's dimension numbers for the hidden matrices among the weights, None for all others."""

    def numbers(path, weight):
        if weight.ndim < 2 or not _HIDDEN.search(jax.tree_util.keystr(path, simple=True, separator="/")):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(weight.ndim - 1)), weight.ndim - 1)

    return jax.tree_util.tree_map_with_path(numbers, params)
