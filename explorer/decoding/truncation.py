"""Rules that cut the tail: keep the first m candidates, and say which m."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from explorer.decoding.distribution import Candidates
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


@dataclass(frozen=True, slots=True)
class TopK:
    """Keep the k most probable tokens, exactly k (Fan et al. 2018); k = 0 is off.

    transformers also keeps every token tied with the k-th; here a tie goes to the lower
    token id, as in every rule.

    >>> TopK(2)(Candidates(np.arange(3), np.zeros(3)), ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "top-k"
    k: int

    def __post_init__(self) -> None:
        check_count("k", self.k)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return candidates.first(self.k) if self.k else candidates


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
    p: float

    def __post_init__(self) -> None:
        check_real("p", self.p, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.p >= 1:
            return candidates
        probabilities = candidates.probabilities
        mass = probabilities[:HEAD].cumsum()  # a nucleus is mostly small: look there first
        if mass[-1] < self.p:
            mass = probabilities.cumsum()
        return candidates.first(int(np.searchsorted(mass, self.p)) + 1)


@dataclass(frozen=True, slots=True)
class MinP:
    """Keep tokens at least min_p times as probable as the best (Nguyen et al. 2024).

    p_i >= min_p * p_1 is compared as l_i >= l_1 + ln(min_p), which needs no softmax.
    min_p = 0 is off.

    >>> MinP(0.5)(Candidates(np.arange(3), np.log([0.5, 0.3, 0.2])), ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "min-p"
    min_p: float

    def __post_init__(self) -> None:
        check_real("min_p", self.min_p, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.min_p == 0:
            return candidates
        threshold = candidates.logits[0] + math.log(self.min_p)
        ascending = candidates.logits[::-1]
        return candidates.first(len(candidates) - int(np.searchsorted(ascending, threshold)))
