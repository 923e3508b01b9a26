"""The models that claims compare."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitdiff.claims.claim import Model

STUDENT_STEPS = (8, 4, 2, 1)
ENCODINGS = ("uint", "gray", "uint_rand")

CHECKPOINTS = (500, 1_000, 2_000)  # training steps
LATE_CHECKPOINTS = (1_500, 3_000, 6_000)
FASHION_SAMPLES = 500  # per point, so that all claims can be checked in an evening
_TINY = {  # smaller than the config, so that many models can be trained
    "network.dim": 24,
    "train.steps": CHECKPOINTS[-1],
    "train.batch_size": 16,
    "optimizer.learning_rate": 5e-3,
    "optimizer.schedule": "linear",  # better than a constant rate after few steps
    "optimizer.ema_decay": 0.99,
    "checkpoint.every_steps": CHECKPOINTS[0],
    "checkpoint.keep_every_steps": CHECKPOINTS[0],
}


def _fashion(encoding: str = "uint", **diffusion: Any) -> Model:
    """A model of small Fashion-MNIST images with an encoding and changes to config.diffusion."""
    return Model("fashion:small", _TINY | {"bits.encoding": encoding} | _in_diffusion(**diffusion))


def _in_diffusion(**changes: Any) -> dict[str, Any]:
    return {f"diffusion.{name}": value for name, value in changes.items()}


def _captions(variant: str, changes: Mapping[str, Any] = {}) -> Model:
    """A model of captions of drawn shapes, trained for fewer steps than its config sets."""
    return Model(f"shapes:{variant}", {"train.steps": 1_200, "optimizer.schedule": "linear", **changes})


def _students(teacher: str, config: str, changes: dict[str, Any], train_steps: int) -> dict[str, Model]:
    """A chain of students of a model, keyed by name: TEACHER_STEPS."""
    teachers = {8: teacher} | {steps: f"{teacher}_{2 * steps}" for steps in STUDENT_STEPS[1:]}
    return {
        f"{teacher}_{steps}": Model(
            config, changes | {"distillation.steps": steps, "train.steps": train_steps}, teachers[steps]
        )
        for steps in STUDENT_STEPS
    }


_PLAIN = _in_diffusion(self_cond_rate=0.0)
_SHORT = {"train.steps": 1_000, "optimizer.schedule": "linear"}
_LONGER = {"train.steps": LATE_CHECKPOINTS[-1], "checkpoint.keep_every_steps": LATE_CHECKPOINTS[0]}
_STUDENT = {"optimizer.learning_rate": _TINY["optimizer.learning_rate"] / 4}  # as in presets.distillation
_BIT_PRIOR = {"prior.model": "bits", "prior.sample.sampler": "ddpm", "prior.sample.steps": 40}
MODELS = {
    **{name: _fashion(name) for name in ENCODINGS},
    **{f"{name}_plain": _fashion(name, self_cond_rate=0.0) for name in ENCODINGS},
    "uint_longer": Model("fashion:small", _TINY | _LONGER),
    "uint_longer_plain": Model("fashion:small", _TINY | _LONGER | _PLAIN),
    "uint_rand_softmax": _fashion("uint_rand", head="factorised_softmax"),
    "continuous": _fashion("continuous", prediction="eps"),
    "uint_eps": _fashion(prediction="eps"),
    "uint_v": _fashion(prediction="v"),
    "uint_logistic": _fashion(loss="logistic"),
    "uint_softmax": _fashion(head="factorised_softmax", loss="cross_entropy"),
    "one_hot": _fashion("one_hot"),
    "one_hot_logistic": _fashion("one_hot", loss="logistic"),
    "one_hot_softmax": _fashion("one_hot", loss="softmax"),
    "masked": Model("fashion:small_masked", _TINY),
    "captions": _captions("bits", {"diffusion.lag": 0.0, "sample.lag": 0.0}),
    "captions_lagged": _captions("bits"),
    "captions_masked": _captions("masked"),
    "captions_autoregressive": Model("shapes:autoregressive"),
    "pairs": Model("mixture"),
    "pairs_masked": Model("mixture:masked"),
    "digits_bits": Model("digits_disco:bits", _SHORT),
    "digits_latents": Model("digits_disco:bits_disco", _SHORT),
    "digits_prior": Model("digits_disco:bits_prior", first="digits_latents"),
    "digits_prior_bits": Model("digits_disco:bits_prior", _BIT_PRIOR, first="digits_latents"),
    "digits_bits_plain": Model("digits_disco:bits", _SHORT | _PLAIN),
    "digits_latents_plain": Model("digits_disco:bits_disco", _SHORT | _PLAIN),
    "digits_prior_plain": Model("digits_disco:bits_prior", first="digits_latents_plain"),
    "fashion_latents": Model("fashion:small_disco", _TINY),
    "fashion_prior": Model("fashion:small_prior", first="fashion_latents"),
    "fashion_prior_bits": Model("fashion:small_prior", _BIT_PRIOR, first="fashion_latents"),
    "fashion_latents_plain": Model("fashion:small_disco", _TINY | _PLAIN),
    "fashion_prior_plain": Model("fashion:small_prior", first="fashion_latents_plain"),
    "digits_edm": Model("digits_disco:plain", _SHORT),
    "digits_edm_latents": Model("digits_disco:disco", _SHORT),
    "digits_edm_prior": Model("digits_disco:prior", first="digits_edm_latents"),
    "digits": Model("digits"),
    **_students("uint", "fashion:small_distilled", _TINY | _STUDENT, 800),
    **_students("digits", "digits:distilled", {}, 800),
    **_students("pairs", "mixture:distilled", {}, 3_000),
    "toy": Model("toy_disco:plain"),
    "toy_latents": Model("toy_disco:disco"),
    "toy_prior": Model("toy_disco:prior", first="toy_latents"),
}


def with_fashion(models: Mapping[str, Model], path: Path) -> dict[str, Model]:
    """The models, with those of Fashion-MNIST trained on the IDX files in a folder."""
    return {
        name: model._replace(changes={**model.changes, "data.path": str(path)})
        if model.config.startswith("fashion:")
        else model
        for name, model in models.items()
    }
