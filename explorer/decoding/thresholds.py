"""Rules that cut below a threshold which the distribution itself may set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.measure import Measured, shares_at
from explorer.decoding.parameters import check_real

ROUNDING = 1e-12  # of a sum over the vocabulary, relative


def _at_least(candidates: Candidates, probability: float) -> Candidates:
    return candidates.first(max(1, candidates.count_from(probability)))


@dataclass(frozen=True, slots=True)
class EpsilonCutoff:
    """Keep tokens of probability at least epsilon, and the best one (Hewitt et al. 2022).

    epsilon is the probability itself; text-generation-webui's slider shows it times 10,000.
    0 is off.

    >>> three = Candidates(np.arange(3), np.log([0.5, 0.3, 0.2]))
    >>> EpsilonCutoff(0.25)(three, ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "epsilon cutoff"
    parameter: ClassVar[str] = "epsilon"
    widens: ClassVar[bool] = False
    epsilon: float

    def __post_init__(self) -> None:
        check_real("epsilon", self.epsilon, 0, 1)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return _at_least(candidates, self.epsilon) if self.epsilon else candidates

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        return Measured("probability", shares_at(candidates, places), self.epsilon, "at_least")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        return shares_at(candidates, places)


@dataclass(frozen=True, slots=True)
class EtaCutoff:
    """Keep tokens of probability at least min(epsilon, sqrt(epsilon) exp(-H)), and the best one.

    Hewitt et al. (2022), with H the entropy in nats, as in their code: where the model is
    unsure, H is high and rarer tokens stay. 0 is off.

    >>> even = Candidates(np.arange(100), np.zeros(100))
    >>> len(EtaCutoff(0.02)(even, ()))  # 0.01 >= sqrt(0.02) / 100
    100
    """

    label: ClassVar[str] = "eta cutoff"
    parameter: ClassVar[str] = "epsilon"
    widens: ClassVar[bool] = False
    epsilon: float

    def __post_init__(self) -> None:
        check_real("epsilon", self.epsilon, 0, 1)

    def _line(self, candidates: Candidates) -> float:
        return min(self.epsilon, math.sqrt(self.epsilon) * math.exp(-candidates.entropy))

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return _at_least(candidates, self._line(candidates)) if self.epsilon else candidates

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        p = shares_at(candidates, places)
        return Measured("probability", p, self._line(candidates), "at_least")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        # The line is epsilon itself up to exp(-2H), and sqrt(epsilon) exp(-H) from there on.
        p, narrow = shares_at(candidates, places), math.exp(-candidates.entropy)
        return np.where(p <= narrow * narrow, p, np.square(p / narrow))


@dataclass(frozen=True, slots=True)
class TopA:
    """Keep tokens of probability at least a times the square of the best one's; a = 0 is off.

    From BlinkDL's RWKV code. A sure model cuts more, an unsure one less.

    >>> TopA(1)(Candidates(np.arange(3), np.log([0.5, 0.3, 0.2])), ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "top-a"
    parameter: ClassVar[str] = "a"
    widens: ClassVar[bool] = False
    a: float

    def __post_init__(self) -> None:
        check_real("a", self.a, 0, 1)

    def _line(self, candidates: Candidates) -> float:
        return self.a * float(candidates.head(1).probabilities[0]) ** 2

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return _at_least(candidates, self._line(candidates)) if self.a else candidates

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        p = shares_at(candidates, places)
        return Measured("probability", p, self._line(candidates), "at_least")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        best = float(candidates.head(1).probabilities[0])
        ratios: NDArray[np.float64] = shares_at(candidates, places) / best**2
        return ratios


@dataclass(frozen=True, slots=True)
class PLess:
    """Keep tokens at least as probable as two independent draws are to agree: p >= sum of p^2.

    p-less sampling (Tan et al. 2025), as in llama.cpp; it has no parameter.

    >>> PLess()(Candidates(np.arange(3), np.log([0.5, 0.3, 0.2])), ()).token_ids.tolist()
    [0]
    """

    label: ClassVar[str] = "p-less"

    def _line(self, candidates: Candidates) -> float:
        p = candidates.probabilities
        # Equal tokens stand on the line; rounding must not part them.
        return float((p * p).sum()) * (1 - ROUNDING)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        return _at_least(candidates, self._line(candidates))

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        p = shares_at(candidates, places)
        return Measured("probability", p, self._line(candidates), "at_least")


@dataclass(frozen=True, slots=True)
class TopNSigma:
    """Keep tokens whose logit is at least max - n * sigma (Tang et al. 2024); n = 0 is off.

    sigma is the population standard deviation of the candidates' finite logits. It is meant
    for raw logits, as the first rule; a temperature does not change who stays.

    >>> three = Candidates(np.arange(3), np.array([2.0, 1.0, 0.0]))  # sigma = 0.816
    >>> TopNSigma(1.5)(three, ()).token_ids.tolist()
    [0, 1]
    """

    label: ClassVar[str] = "top-nσ"
    parameter: ClassVar[str] = "n"
    widens: ClassVar[bool] = True
    n: float

    def __post_init__(self) -> None:
        check_real("n", self.n, 0, 1000)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.n == 0:
            return candidates
        return candidates.first(max(1, candidates.count_from_logit(self._line(candidates))))

    def _line(self, candidates: Candidates) -> float:
        return float(candidates.logits[0]) - self.n * _sigma(candidates)

    def measured(self, candidates: Candidates, places: NDArray[np.int64]) -> Measured:
        return Measured("logit", candidates.logits[places], self._line(candidates), "at_least")

    def critical(self, candidates: Candidates, places: NDArray[np.int64]) -> NDArray[np.float64]:
        below = candidates.logits[0] - candidates.logits[places]
        sigma = _sigma(candidates)
        return below / sigma if sigma else np.zeros(len(places))


def _sigma(candidates: Candidates) -> float:
    logits = candidates.logits
    if not np.isfinite(logits[-1]):
        logits = logits[np.isfinite(logits)]
    spread = float(logits[0] - logits[-1])
    # Scaled to 1: the square of what a tiny temperature leaves would overflow.
    return spread * float(((logits - logits[0]) / spread).std()) if spread else 0.0
