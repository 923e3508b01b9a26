"""The claims that `bitdiff.findings` checks, and their models."""

from collections.abc import Iterable
from typing import Any

from bitdiff.claims.claim import Claim, Model, Point, Score, best_falls, better

_SAMPLES = 1_000
_ENCODINGS = ("uint", "gray", "uint_rand")

# Small enough that a run takes three minutes on one core.
_TINY = {"network.dim": 24, "train.steps": 2_000, "train.batch_size": 32, "optimizer.ema_decay": 0.99}
_JUDGED = Score("judge_frechet", "Frechet distance of a classifier's features")
_LONGER = "Longer training of a larger network: config.train.steps, config.network.dim."


def _fashion(encoding: str = "uint", **diffusion: Any) -> Model:
    """A model of small Fashion-MNIST images with an encoding and changes to config.diffusion."""
    return Model("fashion:small", _TINY | {"bits.encoding": encoding} | _in_diffusion(**diffusion))


def _in_diffusion(**changes: Any) -> dict[str, Any]:
    return {f"diffusion.{name}": value for name, value in changes.items()}


_PLAIN = _in_diffusion(self_cond_rate=0.0)
MODELS = {
    **{name: _fashion(name) for name in _ENCODINGS},
    **{f"{name}_plain": _fashion(name, self_cond_rate=0.0) for name in _ENCODINGS},
    "uint_rand_softmax": _fashion("uint_rand", head="factorised_softmax"),
    "continuous": _fashion("continuous", prediction="eps"),
    "uint_eps": _fashion(prediction="eps"),
    "uint_v": _fashion(prediction="v"),
    "uint_logistic": _fashion(loss="logistic"),
    "uint_softmax": _fashion(head="factorised_softmax", loss="cross_entropy"),
    "one_hot": _fashion("one_hot"),
    "masked": Model("fashion:small_masked", _TINY),
    "pairs": Model("mixture"),
    "pairs_masked": Model("mixture:masked"),
    "digits_bits": Model("digits_disco:bits"),
    "digits_latents": Model("digits_disco:bits_disco"),
    "digits_prior": Model("digits_disco:bits_prior", first="digits_latents"),
    "digits_bits_plain": Model("digits_disco:bits", _PLAIN),
    "digits_latents_plain": Model("digits_disco:bits_disco", _PLAIN),
    "digits_prior_plain": Model("digits_disco:bits_prior", first="digits_latents_plain"),
    "toy": Model("toy_disco:plain"),
    "toy_latents": Model("toy_disco:disco"),
    "toy_prior": Model("toy_disco:prior", first="toy_latents"),
}


def _by_steps(lines: dict[str, str], steps: Iterable[int], **options: Any) -> tuple[Point, ...]:
    """Points for models, keyed by the label of their line, at each number of sampling steps."""
    return tuple(
        Point(line, count, model, {"steps": count, **options}) for line, model in lines.items() for count in steps
    )


def _self_conditioning() -> Claim:
    lines = {
        title: name for name in _ENCODINGS for title, name in ((name, name), (f"{name}, without", f"{name}_plain"))
    }
    return Claim(
        statement="Self-conditioning improves samples with every encoding.",
        paper="Figure 5: FID improves for uint8, gray and uint8 (rand) on CIFAR-10 and ImageNet 64 x 64.",
        score=_JUDGED,
        points=_by_steps(lines, (10, 40)),
        x_label="sampling steps",
        evidence={f"{name}: better than without": better(name, f"{name}, without", (10, 40)) for name in _ENCODINGS},
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _td() -> Claim:
    steps, values = (5, 10, 40), (0.0, 0.5, 1.0, 2.0, 3.0)
    return Claim(
        statement="Asymmetric time intervals (td) help with few steps; the best td falls as the number of steps rises.",
        paper="Figure 6 and Table 4: the best td falls to 0 from 100 to 400 steps, and td helps most with few.",
        score=_JUDGED,
        points=tuple(
            Point(f"{count} steps", td, "uint", {"steps": count, "td": td}) for count in steps for td in values
        ),
        x_label="td, in steps",
        evidence={
            "5 steps: td 1 is better than td 0": lambda found: 1.0 - found["5 steps", 1.0] / found["5 steps", 0.0],
            "the best td falls from 5 to 40 steps": best_falls(("5 steps", "40 steps"), values),
        },
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _difficulty() -> Claim:
    lines = {name: name for name in ("continuous", *_ENCODINGS)} | {"uint_rand, softmax": "uint_rand_softmax"}
    return Claim(
        statement="Encodings get harder to learn from uint to gray to uint_rand; the softmax head helps uint_rand.",
        paper="Tables 1 and 2, CIFAR-10 FID: continuous 2.95, uint8 2.72, gray 2.94, uint8 (rand) 6.43.",
        score=_JUDGED,
        points=_by_steps(lines, (10, 40)),
        x_label="sampling steps",
        evidence={
            "uint is better than gray": better("uint", "gray", (10, 40)),
            "gray is better than uint_rand": better("gray", "uint_rand", (10, 40)),
            "uint_rand is better with the softmax head": better("uint_rand, softmax", "uint_rand", (10, 40)),
        },
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _prediction() -> Claim:
    lines = {
        "x0, l2": "uint",
        "eps, l2": "uint_eps",
        "v, l2": "uint_v",
        "x0, logistic": "uint_logistic",
        "x0, softmax": "uint_softmax",
        "one-hot, l2": "one_hot",
    }
    return Claim(
        statement="Predicting x0 is better than predicting eps, and uint is better than one-hot.",
        paper="Section 3.1 and Table 6, CIFAR-10 FID: uint8 with l2 3.48, logistic 3.53; one-hot with l2 46.32.",
        score=_JUDGED,
        points=_by_steps(lines, (10, 40)),
        x_label="sampling steps",
        evidence={
            "x0 is better than eps": better("x0, l2", "eps, l2", (10, 40)),
            "uint is better than one-hot": better("x0, l2", "one-hot, l2", (10, 40)),
        },
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _bimodal() -> Claim:
    return Claim(
        statement="Generated analog bits are bimodal, so thresholding them loses nothing.",
        paper="Figure 7: nearly all generated bits are close to -1 or 1.",
        score=Score("sharp_bits", "fraction of bits within 10% of -1 or 1"),
        points=_by_steps({name: name for name in _ENCODINGS}, (10, 40)),
        x_label="sampling steps",
        evidence={f"{name}: above 90%": _above(name, 40, 0.9) for name in _ENCODINGS},
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _above(line: str, x: float, least: float):
    return lambda found: found[line, x] - least


def _samplers() -> Claim:
    lines = {"DDIM": "ddim", "DDPM": "ddpm", "DPM-Solver++": "dpm++", "Heun": "heun"}
    points = [
        Point(line, 2 * count - 1 if sampler == "heun" else count, "uint", {"sampler": sampler, "steps": count})
        for line, sampler in lines.items()
        for count in ((3, 5, 10, 20) if sampler == "heun" else (5, 10, 20, 40))
    ]
    return Claim(
        statement="DDIM is better than DDPM with few steps, and DPM-Solver is better still.",
        paper="Table 7, ImageNet 64 x 64 FID of uint8: 100 steps: DDIM 8.80, DDPM 13.04; DPM-Solver 30 steps: 7.85.",
        score=_JUDGED,
        points=tuple(points),
        x_label="network evaluations",
        evidence={
            "DDIM is better than DDPM": better("DDIM", "DDPM", (5, 10)),
            "DPM-Solver++ is better than DDIM": better("DPM-Solver++", "DDIM", (5, 10)),
        },
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _momentum() -> Claim:
    weights = (0.0, 1.0, 3.0, 5.0)
    points = [Point("self-guidance", weight, "uint", {"steps": 20, "self_guidance": weight}) for weight in weights] + [
        Point("momentum", 10 * value, "uint", {"steps": 20, "momentum": value}) for value in (0.0, 0.1, 0.3, 0.5)
    ]
    return Claim(
        statement="Momentum and guidance by self-conditioning improve samples little or not at all.",
        paper="Table 9, ImageNet 64 x 64 FID of uint8: 4.84 by default, 4.85 with momentum, 5.15 with self-guidance.",
        score=_JUDGED,
        points=tuple(points),
        x_label="guidance weight, or 10 x momentum",
        evidence={
            "momentum 0.3 improves the distance by less than 5%": _improves_little("momentum", 3.0),
            "self-guidance 3 improves the distance by less than 5%": _improves_little("self-guidance", 3.0),
        },
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _improves_little(line: str, x: float):
    return lambda found: 0.05 - (1.0 - found[line, x] / found[line, 0.0])


def _masked_images() -> Claim:
    steps = (5, 10, 20, 40)
    return Claim(
        statement="On images, bits are better than masked diffusion with the same number of network evaluations.",
        paper="Table 1, CIFAR-10 FID: uint8 3.48 unconditional; D3PM with absorbing states 30.97.",
        score=_JUDGED,
        points=_by_steps({"bits": "uint"}, steps) + _by_steps({"masked": "masked"}, steps),
        x_label="network evaluations",
        evidence={"bits are better than masks": better("bits", "masked", steps)},
        num_samples=_SAMPLES,
        scale=_LONGER,
    )


def _masked_tokens() -> Claim:
    steps = (5, 10, 40, 100)
    return Claim(
        statement="On token pairs, masked diffusion needs fewer network evaluations than Bit Diffusion.",
        paper="none in the papers; with an exact network, masked diffusion needs one evaluation per token.",
        score=Score("known_tv", "total variation to the known distribution"),
        points=_by_steps({"bits": "pairs", "masked": "pairs_masked"}, steps),
        x_label="network evaluations",
        evidence={"masks are better than bits": better("masked", "bits", steps)},
        num_samples=20_000,
        scale="More seeds.",
    )


def _latents_of_bits() -> Claim:
    lines = {
        "bits": "digits_bits",
        "latents, oracle": "digits_latents",
        "latents, generated": "digits_prior",
        "bits, no self-conditioning": "digits_bits_plain",
        "latents, oracle, no self-conditioning": "digits_latents_plain",
        "latents, generated, no self-conditioning": "digits_prior_plain",
    }
    return Claim(
        statement="With DisCo latents, five steps of Bit Diffusion are better than forty without latents.",
        paper="none in the papers, which combine discrete latents with continuous diffusion only.",
        score=Score("frechet_pixels", "Frechet distance over pixels"),
        points=_by_steps(lines, (5, 10, 20, 40)),
        x_label="sampling steps",
        evidence={
            "5 steps with generated latents are better than 40 without": lambda found: (
                1.0 - found["latents, generated", 5] / found["bits", 40]
            ),
            "latents are better without self-conditioning, too": better(
                "latents, generated, no self-conditioning", "bits, no self-conditioning", (5, 10, 20, 40)
            ),
        },
        num_samples=2_000,
        scale="More seeds.",
    )


def _latents_of_points() -> Claim:
    lines = {"EDM": "toy", "latents, oracle": "toy_latents", "latents, generated": "toy_prior"}
    return Claim(
        statement="Discrete latents bring EDM's samples closer to the data, points in the plane.",
        paper="DisCo-Diff, Table 1: 0.27 for plain EDM, 0.118 with latents.",
        score=Score("w2", "2-Wasserstein distance"),
        points=_by_steps(lines, (5, 10, 25, 50)),
        x_label="sampling steps",
        evidence={"generated latents are better than none": better("latents, generated", "EDM", (5, 10, 25, 50))},
        num_samples=8_000,
        scale="More seeds.",
    )


CLAIMS = {
    "self_conditioning": _self_conditioning(),
    "td": _td(),
    "difficulty": _difficulty(),
    "prediction": _prediction(),
    "bimodal": _bimodal(),
    "samplers": _samplers(),
    "momentum": _momentum(),
    "masked_images": _masked_images(),
    "masked_tokens": _masked_tokens(),
    "latents_of_bits": _latents_of_bits(),
    "latents_of_points": _latents_of_points(),
}
