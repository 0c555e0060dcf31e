"""The next-token table and the line that sums it up."""

import math
from collections.abc import Sequence
from typing import Any

from explorer.decoding import Ranking, Trace
from explorer.session import Candidate
from explorer.views.text import is_whole, printable


def table_rows(candidates: Sequence[Candidate]) -> list[dict[str, Any]]:
    """The rows as plain data; `text` is for reading, `bytes_hex` is the truth."""
    return [
        {
            "rank": candidate.ranked.rank,
            "token_id": candidate.ranked.token_id,
            "text": printable(candidate.raw, special=candidate.special),
            "bytes_hex": candidate.raw.hex(),
            "special": candidate.special,
            "logit": finite(candidate.ranked.logit),
            "raw_probability": candidate.ranked.raw_probability,
            "probability": candidate.ranked.probability,
            "cut_by": candidate.ranked.cut_by,
        }
        for candidate in candidates
    ]


def completions(candidates: Sequence[Candidate], pending: bytes) -> list[str | None]:
    """What each candidate makes of a character begun by the token before it, if it completes it."""
    return [
        printable(pending + candidate.raw)
        if pending and not candidate.special and is_whole(pending + candidate.raw)
        else None
        for candidate in candidates
    ]


def other_row(ranking: Ranking) -> dict[str, Any]:
    return {
        "count": ranking.other_count,
        "raw_probability": ranking.other_raw_probability,
        "probability": ranking.other_probability,
    }


def summary(trace: Trace, ranking: Ranking) -> dict[str, Any]:
    """What the chain leaves; entropies in bits, unknown ones `None`."""
    raw_entropy = trace.distribution.entropy
    return {
        "kept": ranking.kept,
        "vocab_size": trace.distribution.size,
        "mass": ranking.kept_raw_probability,
        "coverage": trace.distribution.coverage,
        "raw_entropy": None if raw_entropy is None else raw_entropy / math.log(2),
        "entropy": trace.final.entropy / math.log(2),
    }


def finite(number: float) -> float | None:
    """JSON has no infinity: the logit of a token of probability 0 is shown as unknown."""
    return number if math.isfinite(number) else None
