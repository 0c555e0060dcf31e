"""Rules that reshape the distribution and keep its order."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.distribution import Candidates, softmax_in_place
from explorer.decoding.parameters import check_real

HOTTEST = 1e6  # far beyond uniform for any logits in use


class Tempered(Candidates):
    """Candidates whose logits are divided by T when somebody asks for them.

    What comes next in a chain often keeps a few tokens: the others are then never divided.
    """

    def __init__(self, base: Candidates, temperature: float) -> None:
        self.__dict__.update(token_ids=base.token_ids, base=base, temperature=temperature)

    base: Candidates
    temperature: float

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        return self._divided()

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:  # (n,) sums to 1
        return softmax_in_place(self._divided())

    def _divided(self) -> NDArray[np.float64]:
        # Shifted first: a tiny T then sends the others to -inf, never the best to +inf.
        shifted: NDArray[np.float64] = self.base.logits - self.base.logits[0]
        with np.errstate(over="ignore"):
            shifted /= self.temperature
        return shifted

    def first(self, count: int) -> Candidates:
        return self if count >= len(self) else Tempered(self.base.first(count), self.temperature)


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
        return Tempered(candidates, self.temperature)
