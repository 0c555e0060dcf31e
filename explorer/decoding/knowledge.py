"""What is certain of the candidates when a server sent only some of them.

A token that was sent has a logit between two bounds, equal ones as long as no rule needed a
number of the whole vocabulary, and is certainly or possibly still in the running. The others
are a `Tail`. Everything here holds for every distribution that agrees with what was sent; ties
between a token that was sent and one that was not go to the one that was, as the server ranked.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import Candidates
from explorer.decoding.distribution import Distribution
from explorer.decoding.tail import Tail

LARGEST_VOCABULARY = 2**22  # far beyond any; a token id beyond it is none

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Knowledge:
    """The candidates between two rules, as far as they are known."""

    token_ids: NDArray[np.int64]  # (n,) that are possibly there, in order by `high`
    low: Floats  # (n,) of the logits
    high: Floats  # (n,)
    must: Flags  # (n,) certainly there
    tail: Tail  # tokens that were not sent and that no rule named
    named: NDArray[np.int64]  # every token that was sent, or that a rule changed by name
    vocab_size: int | None
    absolute: bool = True  # the logits' zero is that of the rules

    @classmethod
    def of(cls, distribution: Distribution) -> "Knowledge":
        """Before any rule."""
        ids, logits = distribution.token_ids, distribution.logits
        sure = np.ones(len(ids), dtype=bool)
        return cls(ids, logits, logits, sure, distribution.tail, ids, distribution.vocab_size)

    @cached_property
    def sharp(self) -> bool:
        """Whether each of these tokens is certainly there, with a known logit."""
        return bool(self.must.all() and np.array_equal(self.low, self.high))

    @property
    def settled(self) -> bool:
        """Whether nothing but tokens that were sent is left, all known."""
        return self.sharp and self.tail.gone

    @property
    def certain(self) -> bool:
        """Whether every probability is known, that of the tail as a whole, too."""
        return self.sharp and len(self.low) > 0 and self.tail.low == self.tail.high

    @cached_property
    def shapeless(self) -> bool:
        """Whether some logit could be anything."""
        return bool(np.isposinf(self.high).any())

    @cached_property
    def leader(self) -> Flags:  # (n,) at most one
        """The token that is certainly there and certainly the most probable."""
        found = np.zeros(len(self.must), dtype=bool)
        if not self.must.any():
            return found
        at = int(np.argmax(np.where(self.must, self.low, -np.inf)))
        others = np.delete(self.high, at)
        best = max(float(others.max(initial=-math.inf)), self.tail.top)
        found[at] = self.low[at] >= best and self.low[at] > -math.inf
        return found

    @property
    def best(self) -> tuple[float, float]:
        """Between these lies the greatest logit."""
        return (
            float(self.low[self.must].max(initial=-math.inf)),
            max(float(self.high.max(initial=-math.inf)), self.tail.top),
        )

    @cached_property
    def _scale(self) -> float:
        finite = self.high[np.isfinite(self.high)]
        return float(finite.max(initial=-math.inf)) if len(finite) else 0.0

    @cached_property
    def weights(self) -> tuple[Floats, Floats, float, float]:
        """Least and greatest weight of each of these, and of the tail, to one scale."""
        with np.errstate(over="ignore"):
            low, high = np.exp(self.low - self._scale), np.exp(self.high - self._scale)
            ends = np.exp(np.array([self.tail.low, self.tail.high]) - self._scale)
        return np.where(self.must, low, 0.0), high, float(ends[0]), float(ends[1])

    @cached_property
    def probabilities(self) -> tuple[Floats, Floats]:
        """Least and greatest probability of each of these; of one not certain, if it is there."""
        if self.shapeless:
            return np.zeros(len(self.high)), np.ones(len(self.high))
        low, high, tail_low, tail_high = self.weights
        beside_low = np.maximum(low.sum() - low, 0.0) + tail_low
        beside_high = np.maximum(high.sum() - high, 0.0) + tail_high
        least = np.exp(self.low - self._scale)
        return _share(least, beside_high, 1.0), _share(high, beside_low, 1.0)

    @property
    def tail_probability(self) -> float:
        """No token of the tail has more."""
        if self.tail.gone:
            return 0.0
        sure = self.weights[0].sum()
        others = math.log(sure) + self._scale if sure > 0 else -math.inf
        return 1 / (1 + math.exp(min(700.0, others - self.tail.top)))

    def share_of_tail(self) -> tuple[float, float]:
        """Least and greatest probability of the tail as a whole."""
        if self.tail.gone:
            return 0.0, 0.0
        if self.shapeless:
            return 0.0, 1.0
        low, high, tail_low, tail_high = self.weights
        ends = np.array([tail_low, tail_high]), np.array([high.sum(), low.sum()])
        least, most = _share(*ends, 1.0).tolist()
        return least, most

    def entropy(self) -> tuple[float, float]:
        """Least and greatest entropy in nats.

        With a share t of the tail, H = h(t) + (1 - t) H(known) + t H(tail): concave in t, so
        it is least at an end, and greatest at t = e^b / (e^a + e^b) or the end nearest to it.
        """
        if len(self.low) == 0 or self.shapeless or not self.sharp:
            return 0.0, math.log(max(1.0, len(self.high) + self.tail.count))
        low, _, _, _ = self.weights
        p = low / low.sum()
        known = -float(p[p > 0] @ np.log(p[p > 0]))
        if self.tail.gone:
            return known, known
        least, most = self.share_of_tail()
        inside = max(0.0, self.tail.low - self.tail.top)
        spread = math.log(self.tail.count)
        lowest = min(_mixed(share, known, inside) for share in (least, most))
        if spread == math.inf:
            return lowest, math.inf
        peak = 1 / (1 + math.exp(min(700.0, known - spread)))
        return lowest, _mixed(min(max(peak, least), most), known, spread)

    # Rules are made of these.

    def only(self, kept: Candidates) -> "Knowledge":
        """When all was settled, a rule leaves no doubt."""
        sure = np.ones(len(kept), dtype=bool)
        return replace(self, token_ids=kept.token_ids, low=kept.logits, high=kept.logits, must=sure)

    def kept(self, must: Flags, may: Flags, tail: Tail) -> "Knowledge":
        """After a cut: those that certainly stay, those that possibly do."""
        must = must & may
        if not (np.isfinite(self.low) & must).any() and tail.low == -math.inf:
            # Perhaps nothing would stay: then the most probable one does, whichever it is.
            return replace(self, must=np.zeros(len(self.must), dtype=bool), tail=self.tail.some())
        return replace(
            self,
            token_ids=self.token_ids[may],
            low=self.low[may],
            high=self.high[may],
            must=must[may],
            tail=tail,
        )

    def any_cut(self, *, best_stays: bool) -> "Knowledge":
        """After a cut of which nothing is known."""
        must = self.leader if best_stays else np.zeros(len(self.must), dtype=bool)
        return replace(self, must=self.must & must, tail=self.tail.some())

    def any_shape(self) -> "Knowledge":
        """After a change of which nothing is known."""
        anything = np.full(len(self.low), math.inf)
        tail = self.tail
        if not tail.gone:
            tail = replace(tail, top=math.inf, low=-math.inf, high=math.inf)
        return replace(self, low=-anything, high=anything, tail=tail)

    def shaped(self, low: Floats, high: Floats, tail: Tail) -> "Knowledge":
        """With other logits, in their new order."""
        order = np.lexsort((self.token_ids, -high))
        return replace(
            self,
            token_ids=self.token_ids[order],
            low=low[order],
            high=high[order],
            must=self.must[order],
            tail=tail,
        )

    def naming(self, token_ids: NDArray[np.int64]) -> "Knowledge":
        """With these tokens taken out of the tail: of each only the greatest logit is known."""
        hidden = self.hidden(token_ids)
        if len(hidden) == 0 or self.tail.gone:
            return self
        named = replace(
            self,
            token_ids=np.concatenate((self.token_ids, hidden)),
            low=np.concatenate((self.low, np.full(len(hidden), -math.inf))),
            high=np.concatenate((self.high, np.full(len(hidden), self.tail.top))),
            must=np.concatenate((self.must, np.zeros(len(hidden), dtype=bool))),
            named=np.concatenate((self.named, hidden)),
        )
        return named.shaped(named.low, named.high, self.tail.less(len(hidden), gone=True))

    def hidden(self, token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Those of the tokens that are in the tail, if they are anywhere."""
        inside = token_ids < (self.vocab_size or LARGEST_VOCABULARY)
        return np.setdiff1d(token_ids[inside], self.named)

    def ahead(self) -> tuple[Floats, Floats]:
        """How many tokens are certainly, and how many possibly, more probable than each."""
        if self.sharp:
            certain = possible = np.arange(len(self.low), dtype=np.float64)
        else:
            sure = np.sort(self.low[self.must])
            certain = (len(sure) - np.searchsorted(sure, self.high, "right")).astype(np.float64)
            ends = np.sort(self.high)
            possible = (len(ends) - np.searchsorted(ends, self.low, "left") - 1).astype(np.float64)
        if self.tail.gone:
            return certain, possible
        tail = np.array([self.tail.at_least(logit) for logit in self.low.tolist()])
        return certain, possible + tail

    def mass_ahead(self) -> tuple[Floats, Floats]:
        """Least and greatest share of what is more probable than each."""
        if self.shapeless:
            return np.zeros(len(self.low)), np.ones(len(self.low))
        low, high, tail_low, tail_high = self.weights
        if self.sharp:
            least = most = low.cumsum() - low
        else:
            falling = np.sort(-self.low[self.must])
            sums = np.concatenate(([0.0], np.exp(-falling - self._scale).cumsum()))
            least = sums[np.searchsorted(falling, -self.high, "left")]
            sums = np.concatenate(([0.0], high.cumsum()))
            until = np.searchsorted(-self.high, -self.low, "right")
            most = np.maximum(sums[until] - high, 0.0)
        among = self.tail.top > self.low  # where tokens of the tail may stand before it
        after_high = np.maximum(high.sum() - least, 0.0) + tail_high
        after_low = np.maximum(low.sum() - most, 0.0) + np.where(among, 0.0, tail_low)
        greatest = most + np.where(among, tail_high, 0.0)
        return _share(least, after_high, 0.0), _share(greatest, after_low, 1.0)

    def ahead_of_tail(self) -> tuple[int, float]:
        """How many tokens, and at least what share, stand before the whole tail for certain."""
        sure = self.must & (self.low >= self.tail.top)
        if self.shapeless:
            return int(sure.sum()), 0.0
        low, high, _, tail_high = self.weights
        parts = np.array([low[sure].sum()]), np.array([high[~sure].sum() + tail_high])
        return int(sure.sum()), float(_share(*parts, 0.0)[0])


def _share(part: Floats, rest: Floats, of_nothing: float) -> Floats:
    """part / (part + rest); a part without bounds is all of it."""
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(part + rest == 0, of_nothing, part / (part + rest))
    return np.where(np.isposinf(part), 1.0, share)


def _mixed(share: float, known: float, other: float) -> float:
    """Entropy of two groups, the second with this share."""
    parts = [-part * math.log(part) for part in (share, 1 - share) if part > 0]
    return sum(parts) + (1 - share) * known + (share * other if share else 0.0)
