"""Claims about captions and token pairs."""

from bitdiff.claims.claim import Claim, Point, Score, better, by_steps, higher
from bitdiff.claims.claim_scores import KNOWN

_TRUE = Score("true", "fraction of captions that are true")
_CAPTION_LENGTH = 13  # tokens, and evaluations of an autoregressive model
_STEPS = (5, 10, 20, 40)
_LONGER = "train for longer (config.train.steps)."


def _caption_steps() -> Claim:
    lines = {f"Bit Diffusion, td {td:g}": td for td in (0.0, 2.0, 4.0)}
    return Claim(
        statement="td helps Bit Diffusion to write captions in five steps; ten steps are as good as forty, and as good "
        "as an autoregressive model.",
        paper="Tables 3 to 5, COCO, BLEU-4: 34.5 in 10 steps with td, 34.4 in 40; autoregressive 33.9.",
        score=_TRUE,
        points=(
            *(
                Point(line, count, "captions", {"steps": count, "td": td})
                for line, td in lines.items()
                for count in _STEPS
            ),
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


def _lagged_captions() -> Claim:
    lagged = (20, 40)  # the config's lag of 16 requires more than 16 steps
    return Claim(
        statement="On captions, Bit Diffusion is better with a lag between positions.",
        paper="not in the papers.",
        score=_TRUE,
        points=by_steps({"no lag, td 2": "captions"}, _STEPS, td=2.0)
        + by_steps({"lag 16, td 2": "captions_lagged"}, lagged),
        x_label="network evaluations",
        evidence={
            "20 and 40 steps: the fraction with a lag minus that without": higher(
                "lag 16, td 2", "no lag, td 2", lagged
            )
        },
        num_samples=300,
        scale=_LONGER,
    )


def _masked_captions() -> Claim:
    masked = ("masked diffusion", "masked diffusion, by confidence")
    return Claim(
        statement="On captions, masked diffusion is better than Bit Diffusion at the same number of evaluations.",
        paper="not in the papers.",
        score=_TRUE,
        points=by_steps({"Bit Diffusion, td 2": "captions"}, _STEPS, td=2.0)
        + by_steps({"masked diffusion": "captions_masked"}, _STEPS)
        + by_steps({"masked diffusion, by confidence": "captions_masked"}, _STEPS, sampler="confidence"),
        x_label="network evaluations",
        evidence={
            "the better masked sampler is better than Bit Diffusion": higher(masked, "Bit Diffusion, td 2", _STEPS)
        },
        num_samples=300,
        scale=_LONGER,
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
    "lagged_captions": _lagged_captions(),
    "masked_captions": _masked_captions(),
    "masked_tokens": _masked_tokens(),
}
