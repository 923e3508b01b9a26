"""Progressive distillation of a trained run of Bit Diffusion into half as many steps (Salimans and Ho 2022).

The student starts from its teacher's weights. It learns to reach in one DDIM step the point that its teacher reaches in
two. The teacher is a run of the task images or tokens, or another student, so a chain of runs halves the number of
steps repeatedly. The teacher's weights are part of the parameters, and training does not change them. The noise levels
are those of the cosine schedule, on which students are sampled. Whatever the teacher predicts, the loss is the squared
error of x0, weighted by the truncated SNR.
"""

import json
from functools import partial
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from bitdiff.conditions import derive_keys
from bitdiff.diffusion import teacher_steps
from bitdiff.diffusion.corruption import corrupt, estimate_x0
from bitdiff.diffusion.schedules import cosine
from bitdiff.diffusion.training_loss import self_conditioned_rows
from bitdiff.runtime.errors import UsageError, choose
from bitdiff.tasks.denoiser import Denoiser, Layout, encode_values, evaluate_network, join, make_denoiser
from bitdiff.tasks.images import make_image_task
from bitdiff.tasks.options import SampleOptions, given_schedule_options
from bitdiff.tasks.task import Task
from bitdiff.tasks.tokens import make_token_task

# Fields that affect how a network is computed or initialized, but not its architecture.
_MAY_DIFFER = ("remat", "weights", "schedule_run")
TEACHERS = {"images": make_image_task, "tokens": make_token_task}


class Distillation(NamedTuple):
    """The model that student and teacher share, and the number of the student's steps."""

    model: Denoiser
    steps: int

    @property
    def start(self) -> float:
        """A threshold halfway between the first time, 1, and the second, robust to rounding of i / steps."""
        return 1.0 - 0.5 / self.steps


def make_distillation_task(config: Any, network: nn.Module | None = None) -> Task:
    """The task of distilling a teacher; config.first is the config of the first teacher in a chain of students.

    Raises:
      UsageError: no teacher, or one that cannot be distilled.
    """
    if network is not None:
        raise UsageError("a student uses its teacher's network; no other can be passed")
    check_teacher(config.first)
    _check_same(config)
    original = config.first.copy_and_resolve_references()
    original.update(network=config.network, encoder=config.encoder, evaluate=config.evaluate)
    student = TEACHERS[original.task](original)
    if original.task == "images":
        layout = Layout("image", (original.data.image_size,) * 2, original.data.channels)
    else:
        layout = Layout("tokens", (original.data.length,), 1)
    steps = config.distillation.steps
    job = Distillation(make_denoiser(original, layout)._replace(gamma=cosine()), steps)

    def sample(params, condition, keys, options):
        _check_options(options, steps)
        return student.sample(params["student"], condition, keys, options)

    single = student.network
    return student._replace(
        init=partial(init_params, student),
        loss=lambda params, batch, keys: (jnp.mean(losses(job, params, batch, keys)[0]), {}),
        losses=partial(losses, job),
        errors=None,
        sample=sample,
        network=None if single is None else partial(_evaluate_student, single),
        frozen=("teacher",),
    )


def _evaluate_student(evaluate: Any, params: Any, condition: dict[str, jax.Array], count: int) -> jax.Array:
    return evaluate(params["student"], condition, count)


def check_teacher(config: Any) -> None:
    """Checks that the model of a config can be distilled.

    Raises:
      UsageError: the config is empty, or describes a model that cannot be distilled.
    """
    if not config:
        raise UsageError("distillation requires a teacher: pass its workdir as --config.first_run")
    choose("task of a teacher (config.first.task)", config.task, TEACHERS)
    options = config.diffusion
    if config.latents.count or options.lag or options.sigma_data or options.trained_guidance:
        raise UsageError(
            "a model with latents, a lag, EDM's preconditioning or trained guidance cannot be distilled: its "
            "latents.count, diffusion.lag, diffusion.sigma_data and diffusion.trained_guidance must be 0"
        )
    if options.prediction == "eps":
        raise UsageError("a model that predicts eps cannot be distilled: at t = 1, eps does not determine x0")


def _check_same(config: Any) -> None:
    """Refuses fields that differ from the teacher's, since the student has the teacher's network and codes."""
    for name in ("network", "bits", "diffusion", "encoder"):
        own, teacher = (json.loads(json.dumps(part[name].to_dict())) for part in (config, config.first))
        for field in sorted(own.keys() | teacher.keys()):
            if field not in _MAY_DIFFER and own.get(field) != teacher.get(field):
                raise UsageError(
                    f"config.{name}.{field} is {own.get(field)!r}; it must equal the teacher's, {teacher.get(field)!r}"
                )


def _check_options(options: SampleOptions, steps: int) -> None:
    """Refuses ways of sampling that the student was not trained for."""
    expected = {"sampler": "ddim", "steps": steps, "td": 0, "endpoint": False, "momentum": 0, "self_guidance": 0}
    expected |= {"churn_fraction": 0, "restarts": ()}
    wrong = [name for name, value in expected.items() if getattr(options, name) != value]
    wrong += ["schedule"] if options.schedule not in ("auto", "cosine") else []
    wrong += ["schedule_options"] if given_schedule_options(options) else []
    wrong += ["churn"] if options.churn[0] else []
    if wrong:
        name = wrong[0]
        raise UsageError(
            f"{name} is {getattr(options, name)!r}; a distilled model samples with ddim in {steps} steps on the cosine "
            "schedule, with td 0 and endpoint False, and without added noise, momentum or self-guidance"
        )


def init_params(student: Task, key: jax.Array) -> dict[str, Any]:
    """Parameters: {'student', 'teacher'}; training starts with both equal to the trained teacher."""
    params = student.init(key)
    return {"student": params, "teacher": params}


def losses(job: Distillation, params: Any, batch: dict[str, jax.Array], keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The weighted squared error of the student against the two-step target, and the time: float32 [N] each.

    In a fraction self_cond_rate of the rows, the student is self-conditioned as in sampling: it first takes a DDIM step
    from t + 1 / steps to t, which yields both x_t and x0_prev. For that step, its self-conditioning input is its own
    estimate at t + 1 / steps. In all rows, the teacher's self-conditioning input is its own estimate at t. At t = 1,
    x0_prev is zero for both.
    """
    model = job.model
    for condition in model.conditions:
        batch, keys = condition.expand(batch, keys)
    derived = derive_keys(keys)
    x0 = encode_values(model, batch[model.layout.field])
    time_keys, eps_keys = jax.vmap(jax.random.split)(derived.diffusion).T
    t = teacher_steps.draw_times(time_keys, job.steps)
    gammas = tuple(model.gamma(jnp.maximum(t - part / job.steps, 0.0)) for part in (0.0, 0.5, 1.0))
    eps = jax.vmap(lambda key: jax.random.normal(key, x0.shape[1:]))(eps_keys)
    x_t, own = _student_inputs(job, params["student"], batch, derived, (x0, eps, t))

    teach = _estimator(model, params["teacher"], batch, derived)
    x0_prev = jnp.zeros_like(x_t)
    if model.self_cond_rate and job.steps > 1:
        x0_prev = jnp.where(_expand(t < job.start, x0), teach(x_t, x0_prev, gammas[0]), 0.0)
    aim = jax.lax.stop_gradient(teacher_steps.two_step_target(teach, x_t, x0_prev, gammas))
    learn = _estimator(model, params["student"], batch, derived, clipped=False, dropout=True)
    error = (learn(x_t, own, gammas[0]) - aim) ** 2
    return teacher_steps.truncated_snr(gammas[0]) * jnp.mean(error.reshape(len(x0), -1), axis=1), t


def _student_inputs(
    job: Distillation, params: Any, batch: dict[str, jax.Array], derived: Any, noisy: tuple[jax.Array, ...]
) -> tuple[jax.Array, jax.Array]:
    """x_t and the student's x0_prev, float [N, ...] each; in self-conditioned rows, the results of a student's step.

    Args:
      job: the model and the number of steps.
      params: the student's parameters.
      batch: the batch.
      derived: keys derived from the examples' keys.
      noisy: clean data x0 [N, ...], noise eps [N, ...], and times t [N].
    """
    model, (x0, eps, t) = job.model, noisy
    x_t, x0_prev = corrupt(x0, eps, model.gamma(t)), jnp.zeros_like(x0)
    rows = self_conditioned_rows(len(x0), model.self_cond_rate)
    if not len(rows) or job.steps == 1:
        return x_t, x0_prev
    x0, eps, now = x0[rows], eps[rows], t[rows]
    before = jnp.minimum(now + 1.0 / job.steps, 1.0)
    gammas = model.gamma(before), model.gamma(now)
    estimate = _estimator(model, params, batch, derived, rows=rows)
    x_before = corrupt(x0, eps, gammas[0])
    found = estimate(x_before, jnp.zeros_like(x0), gammas[0])
    if job.steps > 2:
        found = jnp.where(_expand(before < job.start, x0), estimate(x_before, found, gammas[0]), found)
    started = _expand(now < job.start, x0)
    x_rows = jnp.where(started, teacher_steps.ddim(x_before, found, *gammas), x_t[rows])
    inputs = x_t.at[rows].set(x_rows), x0_prev.at[rows].set(jnp.where(started, found, 0.0))
    return jax.lax.stop_gradient(inputs)


def _expand(values: jax.Array, like: jax.Array) -> jax.Array:
    """Reshapes values [N] to broadcast against an array [N, ...]."""
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _estimator(
    model: Denoiser,
    params: Any,
    batch: dict[str, jax.Array],
    derived: Any,
    *,
    clipped: bool = True,
    dropout: bool = False,
    rows: Any = slice(None),
) -> teacher_steps.Estimate:
    """Returns a function that estimates x0 for some rows; student and teacher see the same conditions."""
    signals = [condition.observe(params, batch, derived) for condition in model.conditions]
    inputs = jax.tree.map(lambda a: a[rows], join(model, params, signals, len(batch[model.layout.field])))
    dropout_keys = derived.dropout[rows] if dropout else None

    def estimate(x_t, x0_prev, gamma_t):
        output = model.objective.readout(evaluate_network(model, params, x_t, x0_prev, gamma_t, inputs, dropout_keys))
        clip = model.clip if clipped else None
        return estimate_x0(output, x_t, gamma_t, prediction=model.objective.prediction, clip=clip)

    return estimate
