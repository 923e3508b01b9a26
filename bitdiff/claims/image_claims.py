"""Claims about images: Fashion-MNIST at 14 x 14 pixels."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bitdiff.claims.claim import Claim, Evidence, Point, Score, best_falls, better, by_steps
from bitdiff.claims.claim_models import CHECKPOINTS, ENCODINGS, FASHION_SAMPLES, LATE_CHECKPOINTS
from bitdiff.claims.claim_scores import JUDGED

_FIGURE_5 = "Figure 5: FID improves for uint8, gray and uint8 (rand) on CIFAR-10 and ImageNet 64 x 64."
_LONGER = "train a larger network for longer (config.network.dim, config.train.steps)."


def _on_fashion(*, score: Score = JUDGED, **facts: Any) -> Claim:
    """A claim about models of small Fashion-MNIST images."""
    return Claim(score=score, num_samples=FASHION_SAMPLES, scale=_LONGER, **facts)


def _self_conditioning() -> Claim:
    lines = {
        title: name
        for name in ENCODINGS
        for title, name in ((name, name), (f"{name}, no self-conditioning", f"{name}_plain"))
    }
    return _on_fashion(
        statement="Self-conditioning improves samples with every encoding.",
        paper=_FIGURE_5,
        points=_over_training(lines, CHECKPOINTS),
        x_label="training steps (20 sampling steps)",
        evidence={
            f"{name}: better with self-conditioning after {CHECKPOINTS[-1]:,} training steps": better(
                name, f"{name}, no self-conditioning", CHECKPOINTS[-1:]
            )
            for name in ENCODINGS
        },
    )


def _self_conditioning_longer() -> Claim:
    lines = {"uint": "uint_longer", "uint, no self-conditioning": "uint_longer_plain"}
    return _on_fashion(
        statement="Self-conditioning improves samples of uint after longer training.",
        paper=_FIGURE_5,
        points=_over_training(lines, LATE_CHECKPOINTS),
        x_label="training steps (20 sampling steps)",
        evidence={
            f"better with self-conditioning after {LATE_CHECKPOINTS[-1]:,} training steps": better(
                "uint", "uint, no self-conditioning", LATE_CHECKPOINTS[-1:]
            )
        },
    )


def _over_training(lines: Mapping[str, str], checkpoints: tuple[int, ...], steps: int = 20) -> tuple[Point, ...]:
    """Points for models, keyed by the label of their line, at each checkpoint."""
    return tuple(
        Point(line, step, model, {"steps": steps}, step) for line, model in lines.items() for step in checkpoints
    )


def _td() -> Claim:
    steps, values = (5, 10, 40), (0.0, 0.5, 1.0, 2.0, 3.0)
    return _on_fashion(
        statement="Asymmetric time intervals (td) help with few steps; the best td falls as the number of steps rises.",
        paper="Figure 6: from 100 to 400 steps, the best td falls to 0; td helps most with few steps.",
        points=tuple(
            Point(f"{count} steps", td, "uint", {"steps": count, "td": td}) for count in steps for td in values
        ),
        x_label="td, in steps",
        evidence={
            "5 steps: td 1 is better than td 0": lambda found: np.log(found["5 steps", 0.0] / found["5 steps", 1.0]),
            "the best td falls from 5 to 40 steps": best_falls(("5 steps", "40 steps"), values),
        },
    )


def _difficulty() -> Claim:
    lines = {name: name for name in ("continuous", *ENCODINGS)} | {"uint_rand, softmax": "uint_rand_softmax"}
    return _on_fashion(
        statement="uint is better than continuous pixels and gray, gray is better than uint_rand, and the softmax head "
        "improves uint_rand.",
        paper="Table 1, CIFAR-10, FID of class-conditional models: continuous pixels 2.95, uint8 2.72, gray 2.94, "
        "uint8 (rand) with the softmax head 6.43.",
        points=by_steps(lines, (10, 40)),
        x_label="sampling steps",
        evidence={
            "uint is better than continuous pixels": better("uint", "continuous", (10, 40)),
            "uint is better than gray": better("uint", "gray", (10, 40)),
            "gray is better than uint_rand": better("gray", "uint_rand", (10, 40)),
            "uint_rand is better with the softmax head": better("uint_rand, softmax", "uint_rand", (10, 40)),
        },
    )


def _prediction() -> Claim:
    lines = {"uint, x0": "uint", "uint, eps": "uint_eps", "uint, v": "uint_v"}
    return _on_fashion(
        statement="Predicting x0 is better than predicting eps or v.",
        paper="Section 3.1: predicting x0 is much more effective than predicting eps.",
        points=by_steps(lines, (10, 40)),
        x_label="sampling steps",
        evidence={
            "x0 is better than eps": better("uint, x0", "uint, eps", (10, 40)),
            "x0 is better than v": better("uint, x0", "uint, v", (10, 40)),
        },
    )


def _losses() -> Claim:
    lines = {
        "uint, l2": "uint",
        "uint, logistic": "uint_logistic",
        "one-hot, l2": "one_hot",
        "one-hot, logistic": "one_hot_logistic",
        "one-hot, softmax": "one_hot_softmax",
    }
    return _on_fashion(
        statement="uint is better than one-hot, which logistic and softmax losses improve.",
        paper="Table 6, CIFAR-10 FID: uint8 with l2 3.48, logistic 3.53; one-hot with l2 46.32, with logistic 26.82, "
        "with softmax 29.49.",
        points=by_steps(lines, (10, 40)),
        x_label="sampling steps",
        evidence={
            "uint (l2) is better than the best of the one-hot models": better(
                "uint, l2", ("one-hot, l2", "one-hot, logistic", "one-hot, softmax"), (10, 40)
            ),
            "one-hot is better with the logistic loss": better("one-hot, logistic", "one-hot, l2", (10, 40)),
            "one-hot is better with the softmax loss": better("one-hot, softmax", "one-hot, l2", (10, 40)),
        },
    )


def _bimodal() -> Claim:
    longer = "uint, longer training"
    return _on_fashion(
        statement="Nearly all generated analog bits are close to -1 or 1.",
        paper="Figure 7: nearly all generated bits are close to -1 or 1.",
        score=Score("sharp_bits", "fraction of bits within 10% of -1 or 1"),
        points=_over_training({name: name for name in ENCODINGS}, CHECKPOINTS, steps=40)
        + _over_training({longer: "uint_longer"}, LATE_CHECKPOINTS, steps=40),
        x_label="training steps (40 sampling steps)",
        evidence={
            f"{line}: fraction after {checkpoints[-1]:,} training steps, minus 0.9": _above(line, checkpoints[-1], 0.9)
            for line, checkpoints in {longer: LATE_CHECKPOINTS, "gray": CHECKPOINTS, "uint_rand": CHECKPOINTS}.items()
        },
    )


def _above(line: str, x: float, least: float) -> Evidence:
    return lambda found: found[line, x] - least


def _samplers() -> Claim:
    steps = (5, 10, 20, 40)
    points = [
        point
        for line, options in {
            "DDIM": {"sampler": "ddim"},
            "DDIM, churn 0.1": {"sampler": "ddim", "churn_fraction": 0.1},
            "DDPM": {"sampler": "ddpm"},
            "DPM-Solver++": {"sampler": "dpm++"},
        }.items()
        for point in by_steps({line: "uint"}, steps, **options)
    ]
    points += [Point("Heun", 2 * n - 1, "uint", {"sampler": "heun", "steps": n}) for n in (3, 5, 10, 20)]
    return _on_fashion(
        statement="With few steps, DDIM is better than DDPM, and DPM-Solver++ is better still; with many, churn helps.",
        paper="Table 7, ImageNet 64 x 64 FID of uint8: 100 steps: DDIM 8.80, DDPM 13.04; DPM-Solver 30 steps: 7.85.",
        points=tuple(points),
        x_label="network evaluations",
        evidence={
            "5 and 10 steps: DDIM is better than DDPM": better("DDIM", "DDPM", (5, 10)),
            "5 and 10 steps: DPM-Solver++ is better than DDIM": better("DPM-Solver++", "DDIM", (5, 10)),
            "40 steps: DDIM with churn is better than the better of DDIM and DPM-Solver++ without it": better(
                "DDIM, churn 0.1", ("DDIM", "DPM-Solver++"), (40,)
            ),
        },
    )


def _momentum() -> Claim:
    weights = (0.0, 1.0, 3.0, 5.0)
    guided = {"self-guidance": "uint", "uint_rand, self-guidance": "uint_rand"}
    points = [
        Point(line, weight, model, {"steps": 20, "self_guidance": weight})
        for line, model in guided.items()
        for weight in weights
    ] + [Point("momentum", 10 * value, "uint", {"steps": 20, "momentum": value}) for value in (0.0, 0.1, 0.3, 0.5)]
    return _on_fashion(
        statement="Momentum and self-guidance improve uint little or not at all; self-guidance improves uint_rand.",
        paper="Table 9, ImageNet 64 x 64 FID of uint8: 4.84 by default, 4.85 with momentum, 5.15 with self-guidance; "
        "of uint8 (rand): 8.76 by default, 7.87 with self-guidance.",
        points=tuple(points),
        x_label="guidance weight (above 0: two evaluations per step), or 10 x momentum",
        evidence={
            "5% minus the improvement by the best momentum": _improves_little("momentum", (1.0, 3.0, 5.0)),
            "5% minus the improvement by the best weight of self-guidance": _improves_little(
                "self-guidance", weights[1:]
            ),
            "uint_rand is better with self-guidance, averaged over weights 3 and 5": _improves(
                "uint_rand, self-guidance", (3.0, 5.0)
            ),
        },
    )


def _improves(line: str, at: tuple[float, ...]) -> Evidence:
    return lambda found: np.mean([np.log(found[line, 0.0] / found[line, x]) for x in at], axis=0)


def _improves_little(line: str, at: tuple[float, ...]) -> Evidence:
    return lambda found: 0.05 - (1.0 - np.min([found[line, x] for x in at], axis=0) / found[line, 0.0])


def _masked_images() -> Claim:
    steps, noise = (5, 10, 20, 40), 10.0  # in a trial with one seed, less noise raised the distance
    squared_error = "Bit Diffusion, uint, l2"
    softmax = {"Bit Diffusion, uint, factorized softmax": "uint_softmax", "Bit Diffusion, one-hot": "one_hot_softmax"}
    return _on_fashion(
        statement="On Fashion-MNIST, masked diffusion is better than Bit Diffusion at the same number of evaluations.",
        paper="Table 1, CIFAR-10 FID: uint8 3.48 unconditional; D3PM with absorbing states, an earlier masked "
        "diffusion model, 30.97.",
        points=by_steps({squared_error: "uint"} | softmax, steps)
        + by_steps({"masked diffusion": "masked"}, steps)
        + by_steps(
            {f"masked diffusion, by confidence, temperature {noise:g}": "masked"},
            steps,
            sampler="confidence",
            temperature=noise,
        ),
        x_label="network evaluations",
        evidence={
            "masked diffusion is better than Bit Diffusion with the squared error": better(
                "masked diffusion", squared_error, steps
            ),
            "masked diffusion is better than the better of the two softmax models": better(
                "masked diffusion", tuple(softmax), steps
            ),
        },
    )


IMAGE_CLAIMS = {
    "self_conditioning": _self_conditioning(),
    "self_conditioning_longer": _self_conditioning_longer(),
    "td": _td(),
    "difficulty": _difficulty(),
    "prediction": _prediction(),
    "losses": _losses(),
    "bimodal": _bimodal(),
    "samplers": _samplers(),
    "momentum": _momentum(),
    "masked_images": _masked_images(),
}
