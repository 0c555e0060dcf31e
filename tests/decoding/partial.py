"""What a server would send of a distribution that is known whole."""

import math

import numpy as np
from numpy.typing import NDArray

from explorer.decoding import Chain, Distribution, Trace, decode


def sent(whole: Distribution, count: int, *, size_known: bool) -> Distribution:
    """What a server that sends so many tokens would give."""
    logprobs = np.log(whole.probabilities)
    return Distribution(
        whole.token_ids[:count],
        logprobs[:count],
        coverage=float(whole.probabilities[:count].sum()),
        vocab_size=whole.size if size_known else None,
        true_logits=False,
    )


def both(
    logits: NDArray[np.float64], part: float, chain: Chain, context: tuple[int, ...], known: bool
) -> tuple[Trace, Trace]:
    """The truth, and what is made of the first tokens of it."""
    logprobs = logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())
    whole = Distribution.from_logits(logprobs)
    count = max(1, min(len(logits) - 1, round(part * len(logits))))
    return decode(whole, chain, context), decode(
        sent(whole, count, size_known=known), chain, context
    )
