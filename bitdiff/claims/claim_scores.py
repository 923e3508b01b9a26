"""The scores that several claims measure."""

from bitdiff.claims.claim import Score

JUDGED = Score("judge_frechet", "Frechet distance to the training images, in the judge's features")
KNOWN = Score("known_tv", "total variation distance to the true distribution", "known_tv_floor", "perfect samples")
