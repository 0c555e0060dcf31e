"""Tokens that a server did not send: what can be said of them all the same.

Of n tokens that were sent, the least probable bounds every other one, and what is missing to 1
is their sum. Between these the sum of any power of their probabilities has exact extremes: the
weight is spread evenly over as many tokens as there are, or gathered in as few as can hold it.
"""

import math
from dataclasses import dataclass, replace

ROUNDING = 1e-12  # of a sum over the vocabulary, relative


@dataclass(frozen=True, slots=True)
class Tail:
    """At most `count` tokens, no logit above `top`, and between what their weights add up to.

    A weight is exp(logit); sums are kept as logarithms.
    """

    count: float  # inf: the vocabulary's size is not known
    top: float
    low: float
    high: float

    @classmethod
    def beside(cls, least: float, total: float, count: float) -> "Tail":
        """Tokens of at most the logit `least`, whose weights add up to exp(total)."""
        top = min(least, total)
        if top == -math.inf or count <= 0:  # what is missing is rounding
            return NO_TAIL
        return cls(max(count, math.ceil(math.exp(total - top) * (1 - ROUNDING))), top, total, total)

    @property
    def gone(self) -> bool:
        """None of these tokens is left."""
        return self.high == -math.inf

    @property
    def point(self) -> float:
        """One value between the bounds, for what can show one number only."""
        if self.low == self.high or self.high == math.inf:
            return self.low
        return self.high - math.log(2) if self.low == -math.inf else (self.low + self.high) / 2

    def some(self) -> "Tail":
        """After a rule that may have cut any of them."""
        return self if self.gone else replace(self, low=-math.inf)

    def less(self, count: float, *, gone: bool) -> "Tail":
        """Without so many tokens; or these made less probable, which ones is not known."""
        if self.gone or count == 0:
            return self
        left = self.count - count if gone else self.count
        if left <= 0:
            return NO_TAIL
        without = -math.inf
        if self.low > -math.inf:
            share = 1 - count * math.exp(min(700.0, self.top - self.low))
            without = self.low + math.log(share) if share > 0 else -math.inf
        return replace(self, count=left, low=without)

    def at_least(self, logit: float) -> float:
        """How many of them, at most, have a logit above this."""
        if self.gone or self.top <= logit:
            return 0
        if logit == -math.inf or self.high - logit > 700:
            return self.count
        return min(self.count, math.floor(math.exp(self.high - logit) * (1 + ROUNDING)))

    def tempered(self, temperature: float) -> "Tail":
        """With every logit divided by the temperature.

        x^(1/T) is concave for T > 1: an even spread then makes the greatest sum, a gathered
        one the least. For T < 1 it is the other way round.

        >>> two = Tail(2, math.log(0.2), math.log(0.2), math.log(0.2)).tempered(2)
        >>> round(math.exp(two.low), 4), round(math.exp(two.high), 4)  # 0.2 ** 0.5, 2 * 0.1 ** 0.5
        (0.4472, 0.6325)
        """
        if self.gone:
            return self
        if temperature > 1:
            low = self._gathered(self.low, temperature, -ROUNDING)
            high = self._even(self.high, temperature)
        else:
            low = self._even(self.low, temperature)
            high = self._gathered(self.high, temperature, ROUNDING)
        return replace(self, top=self.top / temperature, low=low, high=high)

    def _even(self, total: float, temperature: float) -> float:
        if abs(total) == math.inf:
            return total
        if self.count == math.inf:
            return math.copysign(math.inf, temperature - 1)
        spread = math.log(self.count)
        return spread + (total - spread) / temperature

    def _gathered(self, total: float, temperature: float, rounding: float) -> float:
        """As many of the greatest weight as can be, and one of what is left."""
        if abs(total) == math.inf:
            return total
        if total - self.top > 700:  # more than can be counted
            return math.copysign(math.inf, rounding)
        if total <= self.top:  # less than one of them
            return total / temperature
        tokens = math.exp(total - self.top) * (1 + rounding)
        whole = math.floor(tokens)
        power = 1 / temperature
        return self.top / temperature + math.log(whole + (tokens - whole) ** power)

    def entropy_terms(self, shift: float) -> tuple[float, float]:
        """Least and greatest of the sum of -p ln p over these, p = exp(logit + shift), in nats.

        The total is known exactly here, as it is before any rule.
        """
        if self.gone:
            return 0.0, 0.0
        top, total = self.top + shift, self.high + shift
        tokens = math.exp(total - top)
        whole = math.floor(tokens)
        part = tokens - whole
        gathered = math.exp(top) * (-top * tokens - (part * math.log(part) if part else 0.0))
        return gathered, math.exp(total) * (math.log(self.count) - total)


NO_TAIL = Tail(0, -math.inf, -math.inf, -math.inf)
