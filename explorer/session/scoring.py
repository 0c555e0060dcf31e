"""How well a model predicts a whole text; `None` where nothing could be scored."""

import math
import sys
from collections.abc import Sequence

from explorer.backends.base import Backend, ScoredToken


def unlisted(scored: Sequence[ScoredToken]) -> int:
    """How many tokens have no probability, for a server sent only more probable ones."""
    return sum(token.logprob is None for token in scored[1:])


def perplexity(scored: Sequence[ScoredToken], *, at_least: bool = False) -> float | None:
    """exp of the mean negative log-probability over all tokens that have one.

    The first token has none: the model saw nothing before it. Where another one has none, the
    perplexity is unknown; `at_least` gives a lower bound, for each adds at least 0 to the sum.

    >>> perplexity([ScoredToken(1), ScoredToken(2, math.log(0.5)), ScoredToken(3, math.log(0.125))])
    4.0
    """
    mean = _mean(scored, at_least)
    return math.exp(mean) if mean is not None and mean < math.log(sys.float_info.max) else None


def bits_per_token(scored: Sequence[ScoredToken], *, at_least: bool = False) -> float | None:
    """Mean surprisal in bits over all tokens that have one; as `perplexity`.

    >>> text = [ScoredToken(1), ScoredToken(2, math.log(0.5)), ScoredToken(3, math.log(0.125))]
    >>> bits_per_token(text)
    2.0
    >>> unseen = [*text, ScoredToken(4)]
    >>> bits_per_token(unseen), round(bits_per_token(unseen, at_least=True), 3)
    (None, 1.333)
    """
    mean = _mean(scored, at_least)
    return mean / math.log(2) if mean is not None and math.isfinite(mean) else None


def _mean(scored: Sequence[ScoredToken], at_least: bool) -> float | None:
    """Of the surprisal, in nats."""
    known = [token.logprob for token in scored if token.logprob is not None]
    missing = unlisted(scored)
    if not known or (missing and not at_least):
        return None
    return -sum(known) / (len(known) + missing)


def bits_per_byte(
    backend: Backend, scored: Sequence[ScoredToken], *, at_least: bool = False
) -> float | None:
    """Surprisal in bits of all scored tokens that spell text, over their bytes.

    Comparable across tokenizers, as perplexity is not. `at_least` as there.
    """
    bits, size = 0.0, 0
    for position, token in enumerate(scored):
        entry = backend.token(token.token_id)
        if entry.special or (token.logprob is None and position == 0):
            continue
        if token.logprob is not None:
            bits -= token.logprob / math.log(2)
        elif not at_least:
            return None
        size += len(entry.raw)
    return bits / size if size and math.isfinite(bits) else None
