"""What is read off rows of logits where a whole distribution is not needed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from explorer.backends.base import Continuations, ScoredToken


def score_rows(logits: NDArray[np.float32], targets: Sequence[int]) -> list[ScoredToken]:
    """Score each target against its row of logits `(n, V)`."""
    scored = []
    for row, token_id in zip(logits, targets, strict=True):
        weights = np.exp((row - row.max()).astype(np.float64))
        total = weights.sum()
        target = row[token_id]
        rank = int((row > target).sum()) + int((row[:token_id] == target).sum()) + 1
        shifted = np.where(weights > 0, row - row.max(), 0.0)
        log_total = float(np.log(total))
        scored.append(
            ScoredToken(
                token_id,
                logprob=float(target - row.max()) - log_total,
                rank=rank,
                entropy=max(0.0, log_total - float((weights * shifted).sum()) / float(total)),
            )
        )
    return scored


def top_continuations(logits: NDArray[np.float32], count: int) -> Continuations:
    """The `count` most probable tokens by logits `(V,)`; ties by lower token id.

    >>> top_continuations(np.log(np.array([0.25, 0.5, 0.25], np.float32)), 2).token_ids
    (1, 0)
    """
    least = np.partition(logits, -count)[-count]
    among = np.flatnonzero(logits >= least)  # in order of ids, with all that tie for the end
    best = among[np.argsort(-logits[among], kind="stable")[:count]]
    shifted = logits.astype(np.float64) - float(logits.max())
    logprobs = shifted[best] - np.log(np.exp(shifted).sum())
    return Continuations(tuple(best.tolist()), tuple(logprobs.tolist()))
