"""Rules that look at the shape of the distribution: typical, tail-free, top-h."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.measure import Measured
from explorer.decoding.parameters import check_real

TOP_H_LOOKS_AT = 100


class _TypicalOrder:
    """Candidates by how far their surprisal is from the entropy.

    Surprisal rises with the rank, so the distance falls up to one place and rises after it:
    two sorted halves, which need no sorting.
    """

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        p = candidates.probabilities
        surprisal = (candidates.logits[0] - candidates.logits) - math.log(p[0])
        self.distance = np.abs(surprisal - candidates.entropy)
        self.middle = int(np.searchsorted(surprisal, candidates.entropy))
        self.nearer = self.distance[: self.middle][::-1]  # more probable, ascending distance
        self.rarer = self.distance[self.middle :]
        self.mass = np.concatenate(([0.0], p.cumsum()))

    def counts(self, distance: float, side: str) -> tuple[int, int]:
        return (
            int(np.searchsorted(self.nearer, distance, side)),  # type: ignore[call-overload]
            int(np.searchsorted(self.rarer, distance, side)),  # type: ignore[call-overload]
        )

    def mass_within(self, distance: float, side: str = "right") -> float:
        """Mass of the tokens at most (side "right") or less than (side "left") so far away."""
        nearer, rarer = self.counts(distance, side)
        return float(self.mass[self.middle + rarer] - self.mass[self.middle - nearer])

    def edge(self, mass: float) -> float:
        """The least distance within which the tokens hold `mass`."""
        best = math.inf
        for half in (self.nearer, self.rarer):
            low, high = 0, len(half)
            while low < high:
                middle = (low + high) // 2
                if self.mass_within(float(half[middle])) >= mass:
                    high = middle
                else:
                    low = middle + 1
            if low < len(half):
                best = min(best, float(half[low]))
        return best

    def tied(self, distance: float) -> NDArray[np.int64]:
        """Places of the tokens exactly so far away, by token id."""
        near_left, rare_left = self.counts(distance, "left")
        near_right, rare_right = self.counts(distance, "right")
        places = np.concatenate(
            (
                np.arange(self.middle - near_right, self.middle - near_left),
                np.arange(self.middle + rare_left, self.middle + rare_right),
            )
        )
        return places[np.argsort(self.candidates.token_ids[places], kind="stable")]


@dataclass(frozen=True, slots=True)
class Typical:
    """Keep the tokens whose surprisal is closest to the expected one, until their mass reaches
    `mass` (locally typical sampling, Meister et al. 2022).

    Ordered by |-ln p - H|, a token stays while the mass before it is below the target; ties
    go to the lower token id, where transformers keeps them all. The most probable token can
    be cut. mass = 1 is off.

    >>> Typical(0.2)(Candidates(np.arange(3), np.log([0.5, 0.3, 0.2])), ()).token_ids.tolist()
    [1]
    """

    label: ClassVar[str] = "typical"
    parameter: ClassVar[str] = "mass"
    widens: ClassVar[bool] = True
    mass: float

    def __post_init__(self) -> None:
        check_real("mass", self.mass, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.mass >= 1:
            return candidates
        order = _TypicalOrder(candidates)
        edge = order.edge(self.mass)
        if edge == math.inf:  # rounding left the sum of all below the target
            return candidates
        nearer, rarer = order.counts(edge, "left")
        start, stop = order.middle - nearer, order.middle + rarer
        tied = order.tied(edge)
        before = order.mass_within(edge, "left") + np.concatenate(
            ([0.0], candidates.probabilities[tied].cumsum()[:-1])
        )
        among = tied[: max(1, int(np.searchsorted(before, self.mass)))]
        if len(among) == len(tied):
            nearer, rarer = order.counts(edge, "right")
            return candidates.window(order.middle - nearer, order.middle + rarer)
        keep = np.zeros(len(candidates), dtype=bool)
        keep[start:stop] = True
        keep[among] = True
        return candidates.where(keep)

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        before = self.critical(candidates, places)
        return Measured("typical_mass_before", before, self.mass, "below")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        order = _TypicalOrder(candidates)
        distance = order.distance[places]
        near, rare = (np.searchsorted(half, distance) for half in (order.nearer, order.rarer))
        before: NDArray[np.float64] = (
            order.mass[order.middle + rare] - order.mass[order.middle - near]
        )
        ends = [np.searchsorted(half, distance, "right") for half in (order.nearer, order.rarer)]
        for tie in np.flatnonzero(ends[0] - near + ends[1] - rare > 1):
            tied = order.tied(float(distance[tie]))
            lower = tied[: int(np.flatnonzero(tied == places[tie])[0])]
            before[tie] += candidates.probabilities[lower].sum()
        return before


@dataclass(frozen=True, slots=True)
class TailFree:
    """Cut where the curve of sorted probabilities has become straight; legacy; z = 1 is off.

    Tail-free sampling (Phénix and Egan 2019) by text-generation-webui's rule: the absolute second
    differences, normalised, are summed up; a token after the first stays while the sum up
    to the one before it is at most z, and the last is always cut. llama.cpp removed it, and
    kept one token fewer while it had it.

    >>> four = Candidates(np.arange(4), np.log([0.5, 0.3, 0.15, 0.05]))
    >>> TailFree(0.6)(four, ()).token_ids.tolist()  # |second differences| 0.05 and 0.05
    [0, 1]
    """

    label: ClassVar[str] = "tail-free"
    parameter: ClassVar[str] = "z"
    widens: ClassVar[bool] = True
    z: float

    def __post_init__(self) -> None:
        check_real("z", self.z, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.z >= 1 or len(candidates) < 2:
            return candidates
        return candidates.first(1 + int(np.searchsorted(_curvature(candidates), self.z, "right")))

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        return Measured("curvature", self.critical(candidates, places), self.z, "at_most")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        share = np.concatenate(([0.0], _curvature(candidates), [math.inf]))
        values: NDArray[np.float64] = share[places]
        return values


def _curvature(candidates: Candidates) -> NDArray[np.float64]:  # (n - 2,) ascending to 1
    second = np.abs(np.diff(candidates.probabilities, 2))
    total = second.sum()
    if total == 0:
        return np.zeros(len(second))
    share: NDArray[np.float64] = second.cumsum() / total
    return np.minimum(share, 1.0)  # rounding must not pass the whole


@dataclass(frozen=True, slots=True)
class TopH:
    """Keep the most probable tokens while their share of the entropy is at most h.

    Top-H decoding (Potraghloo et al. 2025) as in transformers 5: over the 100 most probable
    tokens, renormalised, -p ln p is summed up; a token stays while the sum with it is at
    most h times the whole, and the best always stays. All beyond the 100 go.

    >>> TopH(0.5)(Candidates(np.arange(4), np.zeros(4)), ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "top-h"
    parameter: ClassVar[str] = "h"
    widens: ClassVar[bool] = True
    h: float

    def __post_init__(self) -> None:
        check_real("h", self.h, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        within = int(np.searchsorted(_entropy_share(candidates), self.h, "right"))
        return candidates.first(max(1, within))

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        return Measured("entropy_share", self.critical(candidates, places), self.h, "at_most")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        share = _entropy_share(candidates)
        share[0] = 0.0  # the best always stays
        beyond = np.full(len(places), math.inf)
        inside = places < len(share)
        beyond[inside] = share[places[inside]]
        return beyond


def _entropy_share(candidates: Candidates) -> NDArray[np.float64]:  # (min(n, 100),) up to 1
    head = candidates.first(TOP_H_LOOKS_AT)
    p = head.probabilities
    log_p = np.log(np.where(p > 0, p, 1.0))
    terms = np.cumsum(-p * log_p)
    # Without any entropy nothing but the best stays, as in transformers.
    return terms / terms[-1] if terms[-1] > 0 else np.ones(len(terms))
