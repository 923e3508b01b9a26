"""Claims about captions and token pairs."""

from bitdiff.claims.claim import Claim, Point, Score, better, by_steps, higher
from bitdiff.claims.claim_scores import KNOWN

_TRUE = Score("true", "fraction of captions that are true")
_CAPTION_LENGTH = 13  # tokens, and evaluations of an autoregressive model
_LAGGED_STEPS = (20, 40)  # the config's lag of 16 requires more than 16 steps
_WITH_LAG = "Bit Diffusion with a lag, td 2"
_LAGGED = by_steps({_WITH_LAG: "captions_lagged"}, _LAGGED_STEPS)


def _caption_steps() -> Claim:
    steps = (5, 10, 20, 40)
    lines = {f"Bit Diffusion, td {td:g}": td for td in (0.0, 2.0, 4.0)}
    return Claim(
        statement="Bit Diffusion writes captions as well in ten steps as in forty, and as well as an autoregressive "
        "model does.",
        paper="Tables 3 to 5, COCO, BLEU-4: 34.5 in 10 steps with td, 34.4 in 40; autoregressive 33.9.",
        score=_TRUE,
        points=(
            *(
                Point(line, count, "captions", {"steps": count, "td": td})
                for line, td in lines.items()
                for count in steps
            ),
            *_LAGGED,
            Point("autoregressive", _CAPTION_LENGTH, "captions_autoregressive", {}),
        ),
        x_label="network evaluations",
        evidence={
            "5 steps: td 2 is better than td 0": higher("Bit Diffusion, td 2", "Bit Diffusion, td 0", (5,)),
            "td 2: 10 steps minus 40, plus 0.02": lambda found: (
                found["Bit Diffusion, td 2", 10] - found["Bit Diffusion, td 2", 40] + 0.02
            ),
            "10 steps minus autoregressive, plus 0.02": lambda found: (
                found["Bit Diffusion, td 2", 10] - found["autoregressive", _CAPTION_LENGTH] + 0.02
            ),
        },
        num_samples=300,
        scale="train for longer (config.train.steps), or with latents (configs/shapes_disco.py).",
    )


def _masked_captions() -> Claim:
    steps = (5, 10, 20, 40)
    masked = ("masked diffusion", "masked diffusion, by confidence")
    return Claim(
        statement="On captions, masked diffusion is better than Bit Diffusion at the same number of evaluations.",
        paper="not in the papers.",
        score=_TRUE,
        points=by_steps({"Bit Diffusion, td 2": "captions"}, steps, td=2.0)
        + _LAGGED
        + by_steps({"masked diffusion": "captions_masked"}, steps)
        + by_steps({"masked diffusion, by confidence": "captions_masked"}, steps, sampler="confidence"),
        x_label="network evaluations",
        evidence={
            "the better masked sampler is better than Bit Diffusion": higher(masked, "Bit Diffusion, td 2", steps),
            "the better masked sampler is better than Bit Diffusion with a lag": higher(
                masked, _WITH_LAG, _LAGGED_STEPS
            ),
        },
        num_samples=300,
        scale="train for longer (config.train.steps).",
    )


def _masked_tokens() -> Claim:
    steps = (5, 10, 40, 100)
    return Claim(
        statement="On token pairs, masked diffusion is better than Bit Diffusion at the same number of evaluations.",
        paper="not in the papers; with an exact network, unmasking one token per evaluation samples the true "
        "distribution.",
        score=KNOWN,
        points=by_steps({"Bit Diffusion": "pairs", "masked diffusion": "pairs_masked"}, steps)
        + by_steps({"masked diffusion, by confidence": "pairs_masked"}, steps, sampler="confidence"),
        x_label="network evaluations",
        evidence={"masked diffusion is better than Bit Diffusion": better("masked diffusion", "Bit Diffusion", steps)},
        num_samples=20_000,
        scale="use more seeds.",
    )


TEXT_CLAIMS = {
    "captions": _caption_steps(),
    "masked_captions": _masked_captions(),
    "masked_tokens": _masked_tokens(),
}
