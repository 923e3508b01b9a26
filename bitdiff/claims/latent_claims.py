"""Claims about DisCo-Diff's discrete latents."""

from bitdiff.claims.claim import Claim, Score, better, by_steps
from bitdiff.claims.claim_scores import PIXELS


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
        score=PIXELS,
        points=by_steps(lines, (5, 10, 20, 40)),
        x_label="sampling steps",
        evidence={
            "5 steps with generated latents are better than 40 without": lambda found: (
                1.0 - found["latents, generated", 5] / found["bits", 40]
            ),
            "latents also help without self-conditioning": better(
                "latents, generated, no self-conditioning", "bits, no self-conditioning", (5, 10, 20, 40)
            ),
        },
        num_samples=2_000,
        scale="More seeds.",
    )


def _latents_of_points() -> Claim:
    lines = {"EDM": "toy", "latents, oracle": "toy_latents", "latents, generated": "toy_prior"}
    return Claim(
        statement="On points in the plane, discrete latents bring EDM's samples closer to the data.",
        paper="DisCo-Diff, Table 1: 0.27 for plain EDM, 0.118 with latents.",
        score=Score("w2", "2-Wasserstein distance"),
        points=by_steps(lines, (5, 10, 25, 50)),
        x_label="sampling steps",
        evidence={"generated latents are better than none": better("latents, generated", "EDM", (5, 10, 25, 50))},
        num_samples=8_000,
        scale="More seeds.",
    )


LATENT_CLAIMS = {
    "latents_of_bits": _latents_of_bits(),
    "latents_of_points": _latents_of_points(),
}
