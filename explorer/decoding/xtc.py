"""Exclude Top Choices: now and then, not the obvious."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.measure import Measured, shares_at
from explorer.decoding.parameters import check_real
from explorer.decoding.randomness import uniform
from explorer.decoding.step import Chain

LEAST = 5e-324  # a token of probability 0 reaches no threshold


@dataclass(frozen=True, slots=True)
class Xtc:
    """Where two or more tokens reach the threshold, cut all of them but the least probable.

    By p-e-w, for text-generation-webui (2024). The rule fires with `probability`; here it
    shows what it does when it fires, and `flip` decides whether it does. A threshold above 0.5, or
    a probability of 0, is off.

    >>> Xtc(0.2)(Candidates(np.arange(3), np.log([0.5, 0.3, 0.2])), ()).token_ids.tolist()
    [2]
    """

    label: ClassVar[str] = "XTC"
    parameter: ClassVar[str] = "threshold"
    widens: ClassVar[bool] = True
    threshold: float
    probability: float = 1.0

    def __post_init__(self) -> None:
        check_real("threshold", self.threshold, 0, 1)
        check_real("probability", self.probability, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.probability == 0 or self.threshold > 0.5:
            return candidates
        reach = candidates.count_from(max(self.threshold, LEAST))
        return candidates.window(reach - 1, len(candidates)) if reach > 1 else candidates

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        return Measured("probability", shares_at(candidates, places), self.threshold, "below")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        # A token stays once no rarer one reaches the threshold: it is then the least of those.
        reach = int(places.max(initial=0)) + 2
        shares = np.append(candidates.head(reach).probabilities[:reach], 0.0)
        return np.asarray(shares[places + 1], dtype=np.float64)


def flip(chain: Chain, seed: int, position: int) -> Chain:
    """The chain for one draw: every step that fires by chance made sure to fire, or not to.

    The coins are draws of their own under (seed, position), so the same seed repeats them.
    They fall when a token is drawn, never when a distribution is looked at.

    >>> flip((Xtc(0.1, 0.0), Xtc(0.1, 1.0)), 0, 0)
    (Xtc(threshold=0.1, probability=0.0), Xtc(threshold=0.1, probability=1.0))
    """
    flipped = []
    for number, step in enumerate(chain):
        if isinstance(step, Xtc) and 0 < step.probability < 1:
            fires = uniform(seed, position, stream=number + 1) < step.probability
            step = replace(step, probability=1.0 if fires else 0.0)
        flipped.append(step)
    return tuple(flipped)
