"""Progressive distillation: targets, times, weights, self-conditioned rows, a chain of students, refused teachers."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bitdiff import data, sampling
from bitdiff.conditions import derive_keys
from bitdiff.configs import digits, fashion, mixture
from bitdiff.configuration import presets, sections
from bitdiff.data import token_pairs
from bitdiff.diffusion import schedules, teacher_steps
from bitdiff.diffusion.bits import make_codec
from bitdiff.diffusion.corruption import corrupt
from bitdiff.diffusion.oracle import bayes_denoiser
from bitdiff.diffusion.training_loss import self_conditioned_rows
from bitdiff.inference import trained
from bitdiff.inference.exporting import export_model
from bitdiff.runtime.errors import UsageError
from bitdiff.tasks import distillation, make_task, sample_options
from bitdiff.tasks.denoiser import Layout, encode_values, evaluate_network, init_params, join, make_denoiser
from bitdiff.training.trainer import train

KEY = jax.random.key(0)
CODEC = make_codec("uint", 16, 1.0)
ORACLE = bayes_denoiser(CODEC.encode(np.argwhere(np.ones((16, 16)))[..., None]), token_pairs.probabilities().ravel())


class CorrectedOracle(nn.Module):
    """The Bayes-optimal denoiser of token pairs, plus an MLP that starts at zero."""

    @nn.compact
    def __call__(self, x, time, label=None, dropout_keys=None):
        best = ORACLE(x, x, time / 1_000)  # the network's time input is 1,000 gamma
        features = (x, best, jnp.broadcast_to(time[:, None, None] / 1_000, x.shape))
        h = jnp.concatenate([a.reshape(len(x), -1) for a in features], axis=-1)
        for _ in range(2):
            h = nn.gelu(nn.Dense(256)(h))
        return best + nn.Dense(best[0].size, kernel_init=nn.initializers.zeros)(h).reshape(best.shape)


def ddim(x_t, x0, now, then):
    """Equation (12) of DDIM (Song et al. 2021), without noise."""
    eps = (x_t - np.sqrt(now) * x0) / np.sqrt(1 - now)
    return np.sqrt(then) * x0 + np.sqrt(1 - then) * eps


def teacher_config(**changes):
    config = mixture.get_config("uint")
    config.network = sections.transformer(dim=16, layers=1, head_dim=8)
    config.optimizer.update(warmup_steps=1, schedule="constant")
    config.train.update(steps=30, batch_size=32, sample_every_steps=0)
    config.sample.batch_size = 50
    config.update_from_flattened_dict(changes)
    return config


def student_config(steps, **changes):
    config = teacher_config(**changes)
    config.distillation.steps = steps
    presets.distillation(config, steps=20)
    return config


def resolved(config):
    return data.resolve(config, data.load(config.data))


@pytest.mark.parametrize("steps", [1, 4])
def test_one_step_along_the_target_equals_two_of_the_teacher(steps):
    gamma = schedules.cosine()
    t = 1.0 / steps * np.arange(1, steps + 1).repeat(5)
    gammas = tuple(gamma(jnp.maximum(jnp.asarray(t) - part / steps, 0.0)) for part in (0.0, 0.5, 1.0))
    x_t = jax.random.normal(KEY, (len(t), 2, 4))
    target = teacher_steps.two_step_target(ORACLE, x_t, jnp.zeros_like(x_t), gammas)
    now, middle, end = (np.asarray(g)[:, None, None] for g in gammas)
    between = ddim(x_t, ORACLE(x_t, x_t, gammas[0]), now, middle)
    arrived = ddim(between, ORACLE(between, x_t, gammas[1]), middle, end)
    # At t = 1, alpha is 8e-5 and the target a ratio of small numbers in float32.
    np.testing.assert_allclose(ddim(x_t, target, now, end), arrived, atol=2e-4)


@pytest.mark.parametrize(
    ("module", "variant"), [(digits, "distilled"), (fashion, "small_distilled"), (fashion, "full_distilled")]
)
def test_students_of_images_have_their_teachers_parameters(module, variant):
    config = module.get_config(variant)
    assert config.sample.steps == config.distillation.steps
    config.data.num_classes = config.first.data.num_classes = 10
    params = jax.eval_shape(make_task(config).init, KEY)
    assert jax.tree.structure(params["student"]) == jax.tree.structure(params["teacher"])
    teacher = jax.eval_shape(make_task(config.first).init, KEY)
    assert jax.tree.map(jnp.shape, params["teacher"]) == jax.tree.map(jnp.shape, teacher)


def test_times_are_those_at_which_the_student_samples():
    times = teacher_steps.draw_times(jax.random.split(KEY, 1_000), 4)
    values, counts = np.unique(times, return_counts=True)
    assert values.tolist() == [0.25, 0.5, 0.75, 1.0]
    assert counts.min() > 200  # 250 expected, with a standard deviation of 14


def test_the_weight_is_the_signal_to_noise_ratio_but_at_least_one():
    np.testing.assert_allclose(teacher_steps.truncated_snr(jnp.array([0.0, 0.5, 0.9])), [1, 1, 9], rtol=1e-6)


def distilled(job, teacher, *, updates=500, batch_size=256):
    """Trains a student on token pairs, starting from the teacher's parameters; returns the student's parameters."""
    optimizer = optax.adam(optax.linear_schedule(3e-3, 0.0, updates))

    def update(state, inputs):
        student, moments = state
        tokens, key = inputs

        def loss(student):
            params = {"student": student, "teacher": teacher}
            return jnp.mean(distillation.losses(job, params, {"tokens": tokens}, jax.random.split(key, batch_size))[0])

        changes, moments = optimizer.update(jax.grad(loss)(student), moments)
        return (optax.apply_updates(student, changes), moments), None

    tokens = token_pairs.draw(updates * batch_size, seed=1).reshape(updates, batch_size, 2)
    inputs = (jnp.asarray(tokens), jax.random.split(KEY, updates))
    return jax.jit(partial(jax.lax.scan, update))((teacher, optimizer.init(teacher)), inputs)[0][0]


def pairs_from_noise(model, params, steps):
    """20,000 token pairs, always from the same noise."""

    def denoise(x_t, x0_prev, gamma_t):
        return model.network.apply(params, x_t, 1_000 * gamma_t)

    noise = jax.random.normal(jax.random.key(5), (20_000, 2, 4))
    options = {"gamma": model.gamma, "steps": steps, "self_cond": False}
    analog = jax.jit(lambda x: sampling.sample(denoise, KEY, x.shape, x_init=x, **options))(noise)
    return np.asarray(CODEC.decode(analog))[..., 0]


def distance_to_data(pairs):
    """The total variation distance to the true distribution of token pairs."""
    frequencies = np.bincount(pairs @ np.array([16, 1]), minlength=256) / len(pairs)
    return 0.5 * np.abs(frequencies - token_pairs.probabilities().ravel()).sum()


@pytest.mark.slow
def test_a_student_of_the_oracle_approaches_it_with_half_the_steps():
    config = teacher_config(**{"diffusion.self_cond_rate": 0.0})
    model = make_denoiser(config, Layout("tokens", (2,), 1), CorrectedOracle())
    model = model._replace(gamma=schedules.cosine(), time_of=lambda gamma_t: gamma_t)
    teacher = init_params(model, KEY)
    student = distilled(distillation.Distillation(model, 2), teacher)
    two, four, own = (pairs_from_noise(model, *which) for which in ((teacher, 2), (teacher, 4), (student, 2)))
    # From the same noise, 17% of the oracle's pairs change between two and four steps; 9% of the student's two-step
    # pairs differed from the oracle's four-step pairs.
    assert np.any(own != four, axis=1).mean() < 0.7 * np.any(two != four, axis=1).mean()
    # The oracle's distance is 0.146 with two steps and 0.077 with four; the student's was 0.106. No single sample can
    # change a distance by more than 1 / 20,000, so its standard deviation is at most 0.5 / sqrt(20,000) = 0.0035.
    assert distance_to_data(four) < distance_to_data(own) < distance_to_data(two) - 0.02


@pytest.mark.slow
def test_a_chain_of_students(tmp_path):
    train(teacher_config(), tmp_path / "teacher")
    source = tmp_path / "teacher"
    weights = {}
    for steps in (4, 2):
        config = student_config(steps)
        config.first_run = str(source)
        train(config, tmp_path / f"student{steps}")
        source = tmp_path / f"student{steps}"
        weights[steps] = trained.load(source)
    teacher, four, two = trained.load(tmp_path / "teacher"), weights[4], weights[2]

    def same(one, other):
        return all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True))

    assert same(four.params["teacher"], teacher.params)
    assert same(two.params["teacher"], four.params["student"])
    assert not same(two.params["student"], two.params["teacher"])
    assert two.config.first.task == "tokens"

    keys = jax.random.split(KEY, 8)
    outputs = two.task.sample(two.params, {}, keys, sample_options(two.config.sample))
    assert outputs["tokens"].shape == (8, 2)
    plain = teacher.task.sample(two.params["student"], {}, keys, sample_options(two.config.sample))
    np.testing.assert_array_equal(outputs["tokens"], plain["tokens"])
    for name, value in {"td": 1.0, "steps": 4, "sampler": "ddpm", "schedule": "linear", "endpoint": True}.items():
        with pytest.raises(UsageError, match=f"{name} is .*; a distilled model samples with ddim in 2 steps"):
            two.task.sample(two.params, {}, keys, sample_options(two.config.sample, **{name: value}))
    assert two.config.distillation.teacher_steps == 4
    export_model(two, tmp_path / "export")
    exported = trained.load(tmp_path / "export")
    assert exported.config.task == "tokens"
    np.testing.assert_array_equal(exported.sample(8)["tokens"], two.sample(8)["tokens"])
    config = student_config(4)
    config.first_run = str(tmp_path / "student4")
    with pytest.raises(UsageError, match=r"steps is 4, but the teacher .* samples in 4 steps"):
        train(config, tmp_path / "again")


@pytest.mark.slow
def test_self_conditioned_rows_have_the_inputs_of_a_two_step_sampler():
    config = resolved(student_config(2))
    model = make_denoiser(config.first, Layout("tokens", (2,), 1))._replace(gamma=schedules.cosine())
    params = jax.jit(make_task(config.first).init)(KEY)
    params = jax.tree.map(lambda a: a + 0.1 * jax.random.normal(KEY, a.shape), params)  # the output layer starts at 0
    batch = {"tokens": jnp.asarray(token_pairs.draw(8, seed=0))}
    x0 = encode_values(model, batch["tokens"])
    eps = jax.random.normal(KEY, x0.shape)
    seen = []

    def denoise(x_t, x0_prev, gamma_t):
        seen.append((x_t, x0_prev))
        inputs = join(model, params, [], len(x_t))
        return model.objective.readout(evaluate_network(model, params, x_t, x0_prev, gamma_t, inputs, None))

    with jax.disable_jit():
        start = corrupt(x0, eps, model.gamma(jnp.ones(8)))
        sampling.sample(denoise, KEY, x0.shape, gamma=model.gamma, steps=2, x_init=start)
    job, derived = distillation.Distillation(model, 2), derive_keys(jax.random.split(KEY, 8))
    for t, (x_t, x0_prev) in zip((1.0, 0.5), seen, strict=True):
        times = jnp.full(8, t)
        found = distillation._student_inputs(job, params, batch, derived, (x0, eps, times))
        rows = self_conditioned_rows(8, model.self_cond_rate)
        np.testing.assert_allclose(found[0][rows], x_t[rows], atol=1e-5)
        np.testing.assert_allclose(found[1][rows], x0_prev[rows], atol=1e-5)
        others = np.setdiff1d(np.arange(8), rows)
        np.testing.assert_allclose(found[0][others], corrupt(x0, eps, model.gamma(times))[others], atol=1e-6)
        assert not np.any(found[1][others])
    assert np.any(seen[1][1])


@pytest.mark.slow
def test_training_changes_the_student_alone():
    config = resolved(student_config(4))
    task = make_task(config)
    params = jax.jit(task.init)(KEY)
    batch = {"tokens": jnp.asarray(token_pairs.draw(8, seed=0))}
    gradients = jax.grad(lambda params: task.loss(params, batch, jax.random.split(KEY, 8))[0])(params)
    assert all(not np.any(gradient) for gradient in jax.tree.leaves(gradients["teacher"]))
    assert any(np.any(gradient) for gradient in jax.tree.leaves(gradients["student"]))
    assert task.frozen == ("teacher",)


def test_unsuitable_teachers_are_refused(tmp_path):
    config = resolved(student_config(4))
    with pytest.raises(UsageError, match=r"pass its workdir as --config.first_run|pass --config.first_run"):
        train(student_config(4), tmp_path / "none")
    changed = config.copy_and_resolve_references()
    changed.network.layers = 2
    with pytest.raises(UsageError, match=r"config.network.layers is 2; it must equal the teacher's, 1"):
        make_task(changed)
    with pytest.raises(UsageError, match="a model that predicts eps cannot be distilled"):
        make_task(resolved(student_config(4, **{"diffusion.prediction": "eps"})))
    with pytest.raises(UsageError, match="cannot be distilled"):
        make_task(resolved(student_config(4, **{"diffusion.lag": 2.0})))
    changed = config.copy_and_resolve_references()
    changed.first.task = "autoregressive"
    with pytest.raises(UsageError, match="unknown task of a teacher"):
        make_task(changed)
