"""Selects training sequences for distillation: among good candidates, those most typical of the whole data set.

A teacher trained on several captions per picture finds them equally good, and small errors decide which scores best.
A student that denoises all tokens at once learns best if all pictures have captions of the same form.
"""

import numpy as np

_ROUNDS = 10


def most_typical(candidates: np.ndarray, scores: np.ndarray, *, margin: float, vocab_size: int, pad: int) -> np.ndarray:
    """For each example, the candidate most probable under the unigram frequencies of all selected candidates.

    The selection starts with the best scores, then alternates between estimating the frequencies p and selecting
    argmax_k sum_i log p(token_i), until it stops changing.

    Args:
      candidates: int [N, K, L], sequences.
      scores: float [N, K], their log probabilities.
      margin: candidates whose score is lower than the best one's by more than this, in nats, are left out.
      vocab_size: tokens are below this number.
      pad: the padding token, which is not counted; -1 for none.

    Returns:
      int [N], indices below K.
    """
    allowed = scores >= scores.max(axis=1, keepdims=True) - margin
    counted = candidates != pad
    rows = np.arange(len(candidates))
    chosen = np.argmax(scores, axis=1)
    for _ in range(_ROUNDS):
        tokens = candidates[rows, chosen][counted[rows, chosen]]
        frequencies = np.bincount(tokens, minlength=vocab_size) + 1.0
        log_p = np.log(frequencies / frequencies.sum())
        typical = np.where(allowed, np.sum(log_p[candidates] * counted, axis=2), -np.inf)
        before, chosen = chosen, np.argmax(typical, axis=1)
        if np.array_equal(before, chosen):
            break
    return chosen
