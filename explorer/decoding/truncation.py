"""Rules that cut the tail of the ranking: greedy, top-k, top-p, min-p."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.measure import Measured, ranks, shares_at
from explorer.decoding.parameters import check_count, check_real

HEAD = 4096


@dataclass(frozen=True, slots=True)
class Greedy:
    """Keep only the most probable token; ties go to the lower token id.

    >>> Greedy()(Candidates(np.arange(3), np.zeros(3)), ()).token_ids.tolist()
    [0]
    """

    label: ClassVar[str] = "greedy"

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return candidates.first(1)

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        return Measured("rank", ranks(places), 1.0, "at_most")


@dataclass(frozen=True, slots=True)
class TopK:
    """Keep the k most probable tokens, exactly k (Fan et al. 2018); k = 0 is off.

    transformers also keeps every token tied with the k-th; here a tie goes to the lower
    token id, as in every rule.

    >>> TopK(2)(Candidates(np.arange(3), np.zeros(3)), ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "top-k"
    parameter: ClassVar[str] = "k"
    widens: ClassVar[bool] = True
    k: int

    def __post_init__(self) -> None:
        check_count("k", self.k)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return candidates.first(self.k) if self.k else candidates

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        return Measured("rank", ranks(places), float(self.k or len(candidates)), "at_most")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        return ranks(places)


@dataclass(frozen=True, slots=True)
class TopP:
    """Keep the nucleus: the fewest most probable tokens whose mass reaches p.

    Holtzman et al. (2020): the smallest V' with the sum of P(v) over V' >= p; a token stays
    while the mass before it is < p. Llama 3's `sample_top_p` keeps it at <= p: it differs
    only at exact equality, where floating point decides anyway. p = 1 is off.

    >>> TopP(0.7)(Candidates(np.arange(3), np.log([0.5, 0.3, 0.2])), ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "top-p"
    parameter: ClassVar[str] = "p"
    widens: ClassVar[bool] = True
    p: float

    def __post_init__(self) -> None:
        check_real("p", self.p, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.p >= 1:
            return candidates
        head = HEAD  # a nucleus is mostly small: look there first
        mass = candidates.head(head).probabilities[:head].cumsum()
        while mass[-1] < self.p and head < len(candidates):
            head *= 8
            mass = candidates.head(head).probabilities[:head].cumsum()
        return candidates.first(int(np.searchsorted(mass, self.p)) + 1)

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        before = self.critical(candidates, places)
        return Measured("mass_before", before, self.p, "below")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        last = int(places.max(initial=0))
        mass = candidates.head(last).probabilities[:last].cumsum()
        return np.concatenate(([0.0], mass))[places]


@dataclass(frozen=True, slots=True)
class MinP:
    """Keep tokens at least min_p times as probable as the best (Nguyen et al. 2024).

    p_i >= min_p * p_1 is compared as l_i >= l_1 + ln(min_p), which needs no softmax.
    min_p = 0 is off.

    >>> MinP(0.5)(Candidates(np.arange(3), np.log([0.5, 0.3, 0.2])), ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "min-p"
    parameter: ClassVar[str] = "min_p"
    widens: ClassVar[bool] = False
    min_p: float

    def __post_init__(self) -> None:
        check_real("min_p", self.min_p, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.min_p == 0:
            return candidates
        threshold = float(candidates.head(1).logits[0]) + math.log(self.min_p)
        return candidates.first(max(1, candidates.count_from_logit(threshold)))

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        line = self.min_p * float(candidates.head(1).probabilities[0])
        return Measured("probability", shares_at(candidates, places), line, "at_least")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        best = candidates.head(1).probabilities[0]
        ratios: NDArray[np.float64] = shares_at(candidates, places) / best
        return ratios
