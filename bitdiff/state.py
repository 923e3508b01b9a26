"""The training state, its optimiser and its moving average."""

import re
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import optax.contrib

from bitdiff.errors import UsageError, choose

OPTIMIZERS = ("adam", "muon")
# The products inside of attention, MLPs and convolutional blocks; not what embeds, modulates, begins or ends.
_HIDDEN = re.compile(
    r"(attention\d*|cross)/|mlp_(in|out)\d*/|block\d+/(conv_in|conv_out|shortcut)/|(stem|hidden)[1-9]\d*/"
)
_NEWTON_SCHULZ = (
    (3.4445, -4.7750, 2.0315),
) * 5  # Muon's own; as a list optax loops over it, which compiles in less time
_MUON_RMS = 0.2  # of its update over the learning rate, as Adam's is found to be (arXiv 2502.16982)


class TrainState(NamedTuple):
    """Everything a step changes; the randomness of a step is derived from `step`."""

    step: jax.Array  # int32 [], steps done
    params: Any
    ema_params: Any
    opt_state: Any


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
            f"config.optimizer.warmup_steps = {warmup} needs more steps than that"
        )
    elif options.schedule == "linear":
        after = optax.linear_schedule(peak, 0.0, decay_steps)
    else:
        after = optax.cosine_decay_schedule(peak, decay_steps)
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup]) if warmup else after


def make_optimizer(options: Any, total_steps: int, frozen: tuple[str, ...] = ()) -> optax.GradientTransformation:
    """Adam (AdamW with weight_decay > 0), or Muon, after clipping by the global norm (clip_norm > 0).

    Muon makes the update of every hidden matrix nearly orthogonal, of a size that suits Adam's learning rates; a
    convolution's kernel [h, w, in, out] is the matrix [h w in, out]. The other weights are left to Adam, with
    Nesterov's momentum as optax has it.

    Args:
      options: a config's `optimizer` section.
      total_steps: of training, where a learning rate decays.
      frozen: entries of the parameters that are left as they are.

    Raises:
      UsageError: an unknown name, or as `learning_rate`.
    """
    choose("optimizer (config.optimizer.name)", options.name, OPTIMIZERS)
    clip = optax.clip_by_global_norm(options.clip_norm) if options.clip_norm > 0 else optax.identity()
    rate = learning_rate(options, total_steps)
    if options.name == "adam":
        steps = optax.adamw(rate, b1=options.b1, b2=options.b2, eps=options.eps, weight_decay=options.weight_decay)
    else:
        steps = optax.contrib.muon(
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
    optimizer = optax.chain(clip, steps)
    if not frozen:
        return optimizer

    def labels(params):
        return {name: "frozen" if name in frozen else "trained" for name in params}

    return optax.multi_transform({"trained": optimizer, "frozen": optax.set_to_zero()}, labels)


def _hidden_matrices(params: Any) -> Any:
    """Muon's dimension numbers of the hidden matrices among the weights, None for the others."""

    def numbers(path, weight):
        if weight.ndim < 2 or not _HIDDEN.search(jax.tree_util.keystr(path, simple=True, separator="/")):
            return None
        return optax.contrib.MuonDimensionNumbers(tuple(range(weight.ndim - 1)), weight.ndim - 1)

    return jax.tree_util.tree_map_with_path(numbers, params)


def init_state(params: Any, optimizer: optax.GradientTransformation) -> TrainState:
    """A state at step 0, whose moving average starts as a copy of the weights."""
    return TrainState(
        step=jnp.zeros((), jnp.int32),
        params=params,
        ema_params=jax.tree.map(jnp.copy, params),  # a copy: donating one buffer twice fails
        opt_state=optimizer.init(params),
    )


def apply_gradients(
    state: TrainState, grads: Any, optimizer: optax.GradientTransformation, ema_decay: float
) -> TrainState:
    """One optimiser step; ema <- ema + (1 - ema_decay) (params - ema)."""
    updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    # In this form weights that stay as they are, as frozen ones do, equal their average to the last bit.
    ema_params = jax.tree.map(lambda ema, new: ema + (1.0 - ema_decay) * (new - ema), state.ema_params, params)
    return TrainState(state.step + 1, params, ema_params, opt_state)
