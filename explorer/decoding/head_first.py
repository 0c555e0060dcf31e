"""A large vocabulary of which the first tokens are in order, and the others once somebody asks.

Most of what is done with a distribution looks at its first few thousand tokens, and at sums over
all, which need no order. To sort 262,144 logits takes a tenth of the forward pass of the model that
made them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from explorer.decoding.candidates import PART, Candidates, Head, in_order

FIRST = 4096  # tokens at least that are put in order at once
SAMPLED = 16  # one in so many values tells which
FEW = 8  # tokens of the tail whose places are counted one by one rather than by sorting all
FAR = 1e290  # a logit so far off has probability 0, and leaves room for what rules compute
NOTHING = -800.0  # exp of it is 0


def divided(logits: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Logits, the best first, by a temperature above 0.

    A tiny one would send the best to infinity; shifted, it sends the others there.
    """
    with np.errstate(over="ignore"):
        quotient: NDArray[np.float64] = logits / temperature
        if not abs(quotient[0]) < FAR:
            quotient = (logits - logits[0]) / temperature
    if quotient.min() < -FAR:
        quotient = np.where(quotient < -FAR, -np.inf, quotient)
    return quotient


def descending(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Indices that sort `values` from high to low, equal values by lower index."""
    if values.dtype != np.float32:
        return np.argsort(-values, kind="stable")
    # The bits of a float32, turned so that a greater float is a smaller whole number, over the
    # index: whole numbers of 64 bits are sorted in half the time of an argsort, and none are equal.
    bits = (np.float32(0) - values).view(np.int32)  # 0 - turns 0.0 and -0.0 into one
    keys = (bits ^ ((bits >> np.int32(31)) & np.int32(0x7FFFFFFF))).astype(np.int64)
    keys <<= 32
    keys |= np.arange(len(values))
    keys.sort()
    keys &= 0xFFFFFFFF
    return keys


def _first_few(values: NDArray[np.float32], first: int) -> NDArray[np.int64]:
    """Indices, ascending, of all values from some value on: at least `first`, and not many more.

    One in `SAMPLED` tells about where that value is; to find it exactly takes ten times as long.
    """
    sample = values[::SAMPLED]
    wanted = first * 5 // (4 * SAMPLED)  # a quarter more: one sample in thousands is short of it
    if 0 < wanted <= len(sample):
        among = np.flatnonzero(values >= np.partition(sample, -wanted)[-wanted])
        if first <= len(among) <= 2 * first:
            return among
    return np.flatnonzero(values >= np.partition(values, -first)[-first])


def _none() -> NDArray[np.int64]:
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class Order:
    """Logits by token id, those of the first tokens in order, and those of all on demand.

    Some of them may have been changed since, by a penalty: these are kept beside the others.
    """

    values: NDArray[np.float32]  # (V,) by token id
    first_ids: NDArray[np.int64]  # (h,) every token at least as probable as the last of these
    changed_ids: NDArray[np.int64] = field(default_factory=_none)  # (c,) ascending
    changed_logits: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))  # (c,)

    @classmethod
    def of(cls, values: NDArray[np.float32], first: int = FIRST) -> "Order":
        """The order of logits `(V,)`, which nobody may write to any more; `first` at most V."""
        among = _first_few(values, first)
        return cls(values, among[descending(values[among])])

    def changed(self, token_ids: NDArray[np.int64], logits: NDArray[np.float64]) -> "Order | None":
        """The order once these tokens have other logits; `None` where no first ones are left."""
        ids = np.concatenate((token_ids, self.changed_ids[~np.isin(self.changed_ids, token_ids)]))
        now = np.concatenate((logits, self.logits_of(ids[len(token_ids) :])))
        by_id = np.argsort(ids)
        ids, now = ids[by_id], now[by_id]
        least = float(self.first_logits[-1])
        stay = ~np.isin(self.first_ids, ids)
        first = np.concatenate((self.first_ids[stay], ids[now >= least]))
        first_logits = np.concatenate((self.first_logits[stay], now[now >= least]))
        if len(first) == 0:
            return None
        return Order(self.values, first[in_order(first, first_logits)], ids, now)

    @cached_property
    def first_logits(self) -> NDArray[np.float64]:  # (h,)
        return self.logits_of(self.first_ids)

    @cached_property
    def _first_by_id(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:  # (h,) each
        """The first ids, ascending, and where each of them stands."""
        places = np.argsort(self.first_ids)
        return self.first_ids[places], places

    def first_places_of(self, token_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Where each of these `(m,)` stands among the first; -1 for all others."""
        ids, places = self._first_by_id
        at = np.minimum(np.searchsorted(ids, token_ids), len(ids) - 1)
        return np.where(ids[at] == token_ids, places[at], -1)

    @cached_property
    def _whole(self) -> Candidates:
        ids = descending(self.values)
        whole = Candidates(ids, self.values[ids].astype(np.float64), 0, len(ids))
        if len(self.changed_ids) == 0:
            return whole
        return whole.with_logits(self.changed_ids, self.changed_logits)

    @property
    def token_ids(self) -> NDArray[np.int64]:  # (V,)
        return self._whole.token_ids

    @property
    def logits(self) -> NDArray[np.float64]:  # (V,)
        return self._whole.logits

    @property
    def positions(self) -> NDArray[np.int32]:  # (V,)
        return self._whole.positions

    def parts(self) -> Iterator[NDArray[np.float64]]:
        """All logits by token id, in fresh arrays that stay in a core's own memory.

        Fresh memory for a whole vocabulary costs more than most arithmetic on it.
        """
        for start in range(0, len(self.values), PART):
            part = self.values[start : start + PART].astype(np.float64)
            if len(self.changed_ids):
                low, high = np.searchsorted(self.changed_ids, (start, start + PART))
                part[self.changed_ids[low:high] - start] = self.changed_logits[low:high]
            yield part

    @cached_property
    def lowest(self) -> float:
        if len(self.changed_ids) == 0:
            return float(self.values.min())
        return min(float(part.min()) for part in self.parts())

    def logits_of(self, token_ids: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of tokens `(m,)` of the vocabulary."""
        logits = self.values[token_ids].astype(np.float64)
        if len(self.changed_ids):
            at = np.searchsorted(self.changed_ids, token_ids)
            at = np.minimum(at, len(self.changed_ids) - 1)
            changed = self.changed_ids[at] == token_ids
            logits[changed] = self.changed_logits[at[changed]]
        return logits

    def place_of(self, token_id: int) -> int:
        """How many tokens stand before this one: looked for, or counted, which takes no order."""
        found = np.flatnonzero(self.first_ids == token_id)
        if len(found):
            return int(found[0])
        logit = self.logits_of(np.array([token_id]))[0]
        before, start = 0, 0
        for part in self.parts():
            before += int(np.count_nonzero(part > logit))
            before += int(np.count_nonzero(part[: max(0, token_id - start)] == logit))
            start += len(part)
        return before

    @property
    def nbytes(self) -> int:
        """Bytes with everything on demand, and with the probabilities of all."""
        first = 5 * self.first_ids.nbytes  # ids, logits, probabilities, and both by id
        return self.values.nbytes + first + (3 * 8 + 4) * len(self.values)


@dataclass(frozen=True, eq=False)
class _First:
    """The `Head` of a whole vocabulary, which does not hold it: a ring would outlive its use."""

    whole: "HeadFirst"

    @property
    def token_ids(self) -> NDArray[np.int64]:
        return self.whole.order.first_ids

    @property
    def logits(self) -> NDArray[np.float64]:
        return self.whole.first_logits

    @property
    def probabilities(self) -> NDArray[np.float64]:
        return self.whole.first_probabilities


class HeadFirst(Candidates):
    """All tokens of a large vocabulary, their logits divided by a temperature.

    Whoever asks for all token ids, logits or probabilities in order has them sorted.
    """

    def __init__(self, order: Order, temperature: float = 1.0) -> None:
        self.__dict__.update(
            order=order,
            temperature=temperature,
            offset=None if len(order.changed_ids) else 0,
            vocab_size=len(order.values),
            rest=-math.inf,
            mass=1.0,
        )

    order: Order
    temperature: float

    def __len__(self) -> int:
        return len(self.order.values)

    @property
    def token_ids(self) -> NDArray[np.int64]:
        return self.order.token_ids

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        return self.divided(self.order.logits)

    @property
    def lowest(self) -> float:
        return float(self.divided(np.array([self.order.first_logits[0], self.order.lowest]))[-1])

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:  # (V,)
        return self.shares(self.order.logits)

    @property
    def positions(self) -> NDArray[np.int32]:  # (V,)
        return self.order.positions

    @cached_property
    def entropy(self) -> float:
        total, weighted = self._sums
        return max(0.0, math.log(total) - weighted / total)

    def head(self, count: int) -> Head:
        return _First(self) if count <= len(self.order.first_ids) else self

    @cached_property
    def first_logits(self) -> NDArray[np.float64]:  # (h,)
        return self.divided(self.order.first_logits)

    @cached_property
    def first_probabilities(self) -> NDArray[np.float64]:  # (h,)
        return self.shares(self.order.first_logits)

    @cached_property
    def _total(self) -> float:
        """The sum of exp(d), with d a token's logit less the best one's."""
        if self.temperature == 1:  # the raw entropy is always shown
            return self._sums[0]
        total = 0.0
        for part in self.order.parts():
            weights = self._shifted(part)
            np.exp(weights, out=weights)
            total += float(weights.sum())
        return total

    @cached_property
    def _sums(self) -> tuple[float, float]:
        """Of exp(d) and of d exp(d)."""
        total = weighted = 0.0
        for part in self.order.parts():
            shifted = self._shifted(part)
            np.maximum(shifted, NOTHING, out=shifted)
            weights = np.exp(shifted)
            total += float(weights.sum())
            weighted += float(np.einsum("i,i->", weights, shifted))
        return total, weighted

    def _shifted(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        shifted: NDArray[np.float64] = logits - self.order.first_logits[0]
        if self.temperature != 1:
            with np.errstate(over="ignore"):
                shifted /= self.temperature
        return shifted

    def shares(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Probabilities of tokens with these logits, which no temperature has divided."""
        shares = self._shifted(logits)
        np.exp(shares, out=shares)
        shares /= self._total
        return shares

    def divided(self, logits: NDArray[np.float64]) -> NDArray[np.float64]:
        """Logits, the best first, by the temperature."""
        return logits if self.temperature == 1 else divided(logits, self.temperature)

    def place_of(self, token_id: int) -> int | None:
        return self.order.place_of(token_id) if 0 <= token_id < len(self) else None

    def places_of(
        self, token_ids: NDArray[np.int64], until: int | None = None
    ) -> NDArray[np.int64]:  # (m,)
        inside = token_ids < len(self)
        within = np.where(inside, token_ids, 0)
        places = np.where(inside, self.order.first_places_of(within), -1)
        if until is not None and until <= len(self.order.first_ids):
            return places
        behind = np.flatnonzero(inside & (places < 0))
        if len(behind) > FEW:
            return np.where(inside, self.positions[within], -1)
        for number in behind.tolist():
            places[number] = self.order.place_of(token_ids[number])
        return places

    def window(self, start: int, stop: int) -> Candidates:
        if start <= 0 and stop >= len(self):
            return self
        head = self.head(stop)
        offset = None if self.offset is None else start
        return Candidates(
            head.token_ids[start:stop], head.logits[start:stop], offset, self.vocab_size
        )

    def logits_of(self, token_ids: NDArray[np.int64]) -> NDArray[np.float64]:  # (m,)
        inside = token_ids < len(self)
        logits = self.order.logits_of(np.where(inside, token_ids, 0))
        best = self.order.first_logits[:1]  # which tells how a temperature divides the others
        return np.where(inside, self.divided(np.concatenate((best, logits)))[1:], np.nan)

    def probabilities_of(self, token_ids: NDArray[np.int64]) -> NDArray[np.float64]:  # (m,)
        inside = token_ids < len(self)
        shares = self.shares(self.order.logits_of(np.where(inside, token_ids, 0)))
        return np.where(inside, shares, 0.0)

    def with_logits(self, token_ids: NDArray[np.int64], logits: NDArray[np.float64]) -> Candidates:
        order = self.order.changed(token_ids, logits) if self.temperature == 1 else None
        return super().with_logits(token_ids, logits) if order is None else HeadFirst(order)
