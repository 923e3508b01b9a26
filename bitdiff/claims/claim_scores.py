"""The scores that several claims measure."""

from bitdiff.claims.claim import Score

JUDGED = Score("judge_frechet", "Frechet distance between the judge's features")
KNOWN = Score("known_tv", "total variation to the known distribution")
