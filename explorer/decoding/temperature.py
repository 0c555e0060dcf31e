"""Rules that reshape the distribution and keep its order."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from explorer.decoding.distribution import Candidates
from explorer.decoding.parameters import check_real

HOTTEST = 1e6  # far beyond uniform for any logits in use


@dataclass(frozen=True, slots=True)
class Temperature:
    """Divide the logits by T: below 1 sharper, above 1 flatter.

    p_i is proportional to exp(l_i / T). T = 0 is greedy decoding, stated as such: only the
    most probable token survives, as in Llama 3's `generation.py`. It is never a division by
    a tiny number.

    >>> two = Candidates(np.arange(2), np.log([0.8, 0.2]))
    >>> Temperature(0.5)(two, ()).probabilities.round(4).tolist()
    [0.9412, 0.0588]
    >>> Temperature(0)(two, ()).token_ids.tolist()
    [0]
    """

    label: ClassVar[str] = "temperature"
    temperature: float

    def __post_init__(self) -> None:
        check_real("temperature", self.temperature, 0, HOTTEST)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.temperature == 0:
            return candidates.first(1)
        if self.temperature == 1:
            return candidates
        # Shifted first: a tiny T then sends the others to -inf, never the best to +inf.
        shifted = candidates.logits - candidates.logits[0]
        with np.errstate(over="ignore"):
            shifted /= self.temperature
        return candidates.reweighted(shifted)
