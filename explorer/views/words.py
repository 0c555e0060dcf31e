"""A word that is watched, as data for the page."""

import math
from typing import Any

from explorer.session import FirstToken, Likelihood, WordReading
from explorer.views.lab import TextOf
from explorer.views.table import finite


def words_data(reading: WordReading, text_of: TextOf) -> dict[str, Any]:
    """How likely the text goes on with the word; `None` is unknown, or not there.

    `text_of` gives the printable text of a token. Beside each probability stand its bits of
    surprisal, which tell improbable words apart whose probability is too small for a number.
    """
    tokens = reading.canonical
    return {
        "text": reading.text,
        "tokens": tokens
        and [{"token_id": token_id, "text": text_of(token_id)} for token_id in tokens],
        "first": reading.first and _first(reading.first, text_of),
        "canonical": reading.canonical_likelihood and _likelihood(reading.canonical_likelihood),
        "spelled": {**_likelihood(reading.spelled), "tokenisations": reading.tokenisations},
        "begins": _likelihood(reading.begins),
        "unexplored": _likelihood(reading.unexplored),
        "passes": reading.passes,
    }


def _first(first: FirstToken, text_of: TextOf) -> dict[str, Any]:
    known = first.likelihood
    above = {} if first.rank_above is None else {"rank_above": first.rank_above}
    return {
        **above,
        "token_id": first.token_id,
        "text": text_of(first.token_id),
        "rank": first.rank,
        "raw": known and known.raw,
        "final": known and known.final,
        "cut_by": first.cut_by,
    }


def _likelihood(likelihood: Likelihood) -> dict[str, float | None]:
    return {
        "raw": likelihood.raw,
        "final": likelihood.final,
        "raw_bits": _bits(likelihood.raw_logprob),
        "final_bits": _bits(likelihood.final_logprob),
    }


def _bits(logprob: float) -> float | None:
    return finite(max(0.0, -logprob / math.log(2)))
