"""The scores that several claims measure."""

from bitdiff.claims.claim import Score

JUDGED = Score("judge_frechet", "Frechet distance of features of the judge")
KNOWN = Score("known_tv", "total variation to the known distribution")
