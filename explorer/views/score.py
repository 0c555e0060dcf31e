"""How well a text is predicted, over position."""

import math
from collections.abc import Sequence
from typing import Any

from explorer.session import PathToken
from explorer.views.text import printable

BIT = math.log(2)  # in nats
DIGITS = 4  # of bits: more than any drawing shows


def score_series(path: Sequence[PathToken]) -> dict[str, list[Any]]:
    """Bits at every position, `None` where unknown, as columns: a text can have many thousands."""
    return {
        "surprisal": [_rounded(token.surprisal) for token in path],
        "entropy": [
            None if token.entropy is None else round(token.entropy / BIT, DIGITS) for token in path
        ],
        "texts": [printable(token.raw, special=token.special) for token in path],
    }


def _rounded(bits: float | None) -> float | None:
    return None if bits is None or not math.isfinite(bits) else round(bits, DIGITS)
