"""Rules that reshape the distribution and cut nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates, in_order, softmax_in_place
from explorer.decoding.head_first import HeadFirst, divided
from explorer.decoding.parameters import ParameterError, check_real

HOTTEST = 1e6  # far beyond uniform for any logits in use


class Tempered(Candidates):
    """Candidates whose logits are divided by T when somebody asks for them.

    What comes next in a chain often keeps a few tokens: the others are then never divided.
    """

    def __init__(self, base: Candidates, temperature: float) -> None:
        self.__dict__.update(
            token_ids=base.token_ids,
            offset=base.offset,
            vocab_size=base.vocab_size,
            rest=-math.inf,
            base=base,
            temperature=temperature,
        )

    base: Candidates
    temperature: float

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        return divided(self.base.logits, self.temperature)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:  # (n,) sums to 1, with the rest's share
        shifted: NDArray[np.float64] = self.base.logits - self.base.logits[0]
        with np.errstate(over="ignore"):
            shifted /= self.temperature
        return softmax_in_place(shifted, self.rest)

    def window(self, start: int, stop: int) -> Candidates:
        if start <= 0 and stop >= len(self):
            return self
        return Tempered(self.base.window(start, stop), self.temperature)


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
        if isinstance(candidates, HeadFirst) and candidates.temperature == 1:
            return HeadFirst(candidates.order, self.temperature)
        return Tempered(candidates, self.temperature)


@dataclass(frozen=True, slots=True)
class DynamicTemperature:
    """A temperature that follows the entropy: hot where the model hesitates, cold where it is sure.

    T = low + (high - low) * (H / ln n) ** exponent, with H the entropy in nats of the n
    candidates of non-zero probability (kalomaze's "dynatemp", as in text-generation-webui and
    llama.cpp, whose `dynatemp_range` r around T means low = T - r, high = T + r).
    low = high = 1 is off.

    >>> even = Candidates(np.arange(4), np.zeros(4))
    >>> DynamicTemperature(0.5, 2.0).temperature_for(even)
    2.0
    """

    label: ClassVar[str] = "dynamic temperature"
    low: float
    high: float
    exponent: float = 1.0

    def __post_init__(self) -> None:
        check_real("low", self.low, 0, HOTTEST)
        check_real("high", self.high, 0, HOTTEST)
        check_real("exponent", self.exponent, 0, 100)
        if self.high < self.low:
            raise ParameterError("high", self.high, f"at least low, which is {self.low:g}")

    def temperature_for(self, candidates: Candidates) -> float:
        """The temperature that these candidates get."""
        count = len(candidates)
        if not math.isfinite(candidates.lowest):
            count = int(np.count_nonzero(np.isfinite(candidates.logits)))
        if self.low == self.high or count < 2:
            return self.low
        spread = min(1.0, candidates.entropy / math.log(count))
        return self.low + (self.high - self.low) * float(spread**self.exponent)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.low == self.high == 1:
            return candidates
        return Temperature(self.temperature_for(candidates))(candidates, context)


@dataclass(frozen=True, slots=True)
class QuadraticSmoothing:
    """Bend the logits below the best one by a parabola and a cubic (kalomaze, 2024).

    With d = l - max: l' = max - factor * k * d^2 + factor * s * d^3, k = (3 - curve) / 2,
    s = (curve - 1) / 2. Close rivals come closer, far ones fall away. A curve above 3 turns
    k negative, and close rivals can overtake the best. factor = 0 is off.

    >>> three = Candidates(np.arange(3), np.array([0.0, -1.0, -3.0]))
    >>> QuadraticSmoothing(0.5)(three, ()).logits.tolist()
    [0.0, -0.5, -4.5]
    """

    label: ClassVar[str] = "quadratic smoothing"
    factor: float
    curve: float = 1.0

    def __post_init__(self) -> None:
        check_real("factor", self.factor, 0, 100)
        check_real("curve", self.curve, 1, 100)

    def __call__(self, candidates: Candidates, context: Sequence[int]) -> Candidates:
        if self.factor == 0:
            return candidates
        logits = candidates.logits
        d = np.where(np.isfinite(logits), logits - logits[0], 0.0)
        k, s = (3 - self.curve) / 2, (self.curve - 1) / 2
        with np.errstate(over="ignore", invalid="ignore"):
            bent = logits[0] + self.factor * d * d * (s * d - k)
        bent[~np.isfinite(logits) | ~np.isfinite(bent)] = -np.inf
        order = in_order(candidates.token_ids, bent)
        return Candidates(
            candidates.token_ids[order],
            bent[order],
            candidates.offset if np.array_equal(order, np.arange(len(order))) else None,
            candidates.vocab_size,
        )
