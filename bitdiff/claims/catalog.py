"""The claims that `bitdiff.findings` checks, by name."""

from bitdiff.claims.distillation_claims import DISTILLATION_CLAIMS
from bitdiff.claims.image_claims import IMAGE_CLAIMS
from bitdiff.claims.latent_claims import LATENT_CLAIMS
from bitdiff.claims.text_claims import TEXT_CLAIMS

CLAIMS = IMAGE_CLAIMS | TEXT_CLAIMS | LATENT_CLAIMS | DISTILLATION_CLAIMS
