"""The next-token table and the line that sums it up."""

import math
from collections.abc import Sequence
from typing import Any

from explorer.decoding import Ranking, Trace, step_name
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
            **bounds_data(candidate.ranked.bounds),
        }
        for candidate in candidates
    ]


def bounds_data(bounds: tuple[float, float] | None) -> dict[str, float]:
    """Between what a final probability lies, where it is not exact."""
    return {} if bounds is None else {"probability_low": bounds[0], "probability_high": bounds[1]}


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
        **bounds_data(ranking.other_bounds),
    }


def summary(trace: Trace, ranking: Ranking) -> dict[str, Any]:
    """What the chain leaves; entropies in bits, unknown ones `None`."""
    raw_entropy = trace.distribution.entropy
    least, most = trace.entropy_bounds
    return {
        "kept": ranking.kept,
        "vocab_size": trace.distribution.size,
        "mass": ranking.kept_raw_probability,
        "coverage": trace.distribution.coverage,
        "raw_entropy": None if raw_entropy is None else raw_entropy / math.log(2),
        "entropy": least / math.log(2) if least == most else None,
        **({"partial": _partial(trace)} if trace.distribution.coverage < 1 else {}),
        **({"because": reasons(trace)} if trace.certainty.because else {}),
    }


def _partial(trace: Trace) -> dict[str, Any]:
    """What is known where a server sent a part of the distribution only."""
    certainty = trace.certainty
    return {
        "sent": len(trace.distribution),
        "exact": certainty.exact,
        "unsent": list(certainty.unsent),
        "raw_entropy": [_in_bits(bound) for bound in trace.distribution.entropy_bounds],
        "entropy": [_in_bits(bound) for bound in trace.entropy_bounds],
    }


def reasons(trace: Trace) -> list[dict[str, Any]]:
    """The rules after which not all is exact, and why."""
    return [
        {
            "number": doubt.number,
            "step": step_name(trace.stages[doubt.number].step),
            "reason": doubt.reason,
        }
        for doubt in trace.certainty.because
    ]


def _in_bits(nats: float | None) -> float | None:
    return None if nats is None else nats / math.log(2)


def finite(number: float) -> float | None:
    """JSON has no infinity: the logit of a token of probability 0 is shown as unknown."""
    return number if math.isfinite(number) else None
