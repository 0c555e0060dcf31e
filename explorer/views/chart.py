"""Plot data of the distribution: bars raw against final, the cumulative curves and the cut."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from explorer.session import Candidate
from explorer.views.text import printable

MAX_BARS = 40


def chart_data(candidates: Sequence[Candidate], kept: int) -> dict[str, Any]:
    """The first bars; `cut` is how many of them stand before the cut, `None` if it lies beyond."""
    shown = candidates[:MAX_BARS]
    raw = [candidate.ranked.raw_probability for candidate in shown]
    bounds = [candidate.ranked.bounds for candidate in shown]
    final = [candidate.ranked.probability for candidate in shown]
    return {
        "labels": [printable(candidate.raw, special=candidate.special) for candidate in shown],
        "raw": raw,
        "final": final,
        "raw_cumulative": list(accumulate(raw)),
        "final_cumulative": list(accumulate(final)),
        "cut": kept if kept < len(shown) else None,
        "kept": kept,
        **({"bounds": bounds} if any(bounds) else {}),
    }
