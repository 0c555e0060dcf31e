"""How well a model predicts a whole text; `None` where nothing could be scored."""

import math
import sys
from collections.abc import Sequence

from explorer.backends.base import Backend, ScoredToken


def perplexity(scored: Sequence[ScoredToken]) -> float | None:
    """exp of the mean negative log-probability over all tokens that have one.

    The first token has none: the model saw nothing before it.

    >>> perplexity([ScoredToken(1), ScoredToken(2, math.log(0.5)), ScoredToken(3, math.log(0.125))])
    4.0
    """
    known = [token.logprob for token in scored if token.logprob is not None]
    if not known:
        return None
    mean = -sum(known) / len(known)
    return math.exp(mean) if mean < math.log(sys.float_info.max) else None


def bits_per_token(scored: Sequence[ScoredToken]) -> float | None:
    """Mean surprisal in bits over all tokens that have one.

    >>> text = [ScoredToken(1), ScoredToken(2, math.log(0.5)), ScoredToken(3, math.log(0.125))]
    >>> bits_per_token(text)
    2.0
    """
    known = [token.logprob for token in scored if token.logprob is not None]
    mean = -sum(known) / len(known) / math.log(2) if known else math.inf
    return mean if math.isfinite(mean) else None


def bits_per_byte(backend: Backend, scored: Sequence[ScoredToken]) -> float | None:
    """Surprisal in bits of all scored tokens that spell text, over their bytes.

    Comparable across tokenizers, as perplexity is not.
    """
    bits, size = 0.0, 0
    for token in scored:
        entry = backend.token(token.token_id)
        if token.logprob is not None and not entry.special:
            bits -= token.logprob / math.log(2)
            size += len(entry.raw)
    return bits / size if size and math.isfinite(bits) else None
