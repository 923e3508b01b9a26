"""The scores that several claims measure."""

from bitdiff.claims.claim import Score

JUDGED = Score("judge_frechet", "Frechet distance between classifier features")
PIXELS = Score("frechet_pixels", "Frechet distance over pixels")
KNOWN = Score("known_tv", "total variation to the known distribution")
