"""A claim about a tiny model; as a program, runs `bitdiff.findings` with the claim in its catalog."""

import runpy

from bitdiff.claims.catalog import CLAIMS
from bitdiff.claims.claim import Claim, Model, Point, Score
from bitdiff.claims.claim_models import MODELS

TINY = {
    "data.num_classes": 0,  # without classes, no judge is trained
    "network.dim": 8,
    "network.multipliers": (1,),
    "optimizer.warmup_steps": 1,
    "train.steps": 2,
}
MODEL = Model("digits", TINY)
CLAIM = Claim(
    statement="Two steps of training suffice.",
    paper="not in the papers.",
    score=Score("frechet_pixels", "distance"),
    points=(Point("plain", 1, "plain", {"steps": 1}),),
    x_label="steps",
    evidence={"the distance is below 1": lambda found: 1 - found["plain", 1]},
    num_samples=20,
    scale="train for longer.",
)

if __name__ == "__main__":
    CLAIMS["tiny"], MODELS["plain"] = CLAIM, MODEL
    runpy.run_module("bitdiff.findings", run_name="__main__", alter_sys=True)
