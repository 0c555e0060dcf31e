"""Logits, sorted once: the whole vocabulary, most probable token first."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.decoding.tail import NO_TAIL, Tail

PART = 2**13  # tokens whose numbers stay in a core's own memory


def softmax_in_place(shifted: NDArray[np.float64], rest: float = -math.inf) -> NDArray[np.float64]:
    """Softmax of logits whose greatest is 0, written over them; `rest` is one more of them.

    On a large vocabulary a fresh array costs more than the arithmetic.
    """
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum() + math.exp(rest)
    return shifted


@dataclass(frozen=True, eq=False)
class Candidates:
    """Tokens still in the running, most probable first; ties by lower token id.

    Probabilities are those of the softmax over these tokens alone, so every rule of a
    chain sees what the rule before it left, renormalised.

    >>> three = Candidates(np.arange(3), np.log([0.5, 0.3, 0.2]))
    >>> three.first(2).probabilities.round(3).tolist()
    [0.625, 0.375]
    """

    token_ids: NDArray[np.int64]  # (n,)
    logits: NDArray[np.float64]  # (n,) descending
    # Where these start in the raw order, if they stand there in a row; `None` after a rule
    # that left gaps or changed the order. Most rules cut ends only: to know who was cut then
    # takes a comparison of places, not a look at the whole vocabulary.
    offset: int | None = None
    vocab_size: int | None = None  # V of the distribution that these come from
    # Weight of all candidates that a server did not send, together, against the best one's, as
    # a logarithm: they take part in every probability. `decode` keeps it.
    rest: float = -math.inf

    def __len__(self) -> int:
        return len(self.token_ids)

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:  # (n,) sums to 1, with the rest's share
        return softmax_in_place(self.logits - self.logits[0], self.rest)

    @cached_property
    def mass(self) -> float:
        """The sum of the probabilities: 1 but for rounding, or for what was not sent."""
        return float(self.probabilities.sum())

    @cached_property
    def entropy(self) -> float:
        """Shannon entropy in nats: -sum p ln p; the rest counts as tokens like the last one.

        >>> round(Candidates(np.arange(4), np.zeros(4)).entropy / math.log(2), 6)
        2.0
        """
        # -ln p = ln Z - (l - l[0]) needs no logarithm per token: the best has p = 1 / Z.
        best, last = float(self.probabilities[0]), 0.0
        entropy = -math.log(best)
        # Not `p @ shifted`: the threads of NumPy's BLAS keep a core busy for a while afterwards,
        # and the next step's forward pass wants it. In parts, since fresh memory for a whole
        # vocabulary costs more than the arithmetic.
        for start in range(0, len(self), PART):
            p = self.probabilities[start : start + PART]
            shifted = self.logits[start : start + PART] - self.logits[0]
            if not np.isfinite(shifted[-1]):  # sorted, so any -inf sits at the end
                shifted = np.where(p > 0, shifted, 0.0)  # p ln p is 0 there
            entropy -= float(np.einsum("i,i->", p, shifted))
            last = float(shifted[-1])
        return max(0.0, entropy - math.exp(self.rest) * best * last)

    def with_rest(self, rest: float) -> "Candidates":
        """The same beside so much that was not sent."""
        if rest == self.rest:
            return self
        other = object.__new__(type(self))
        known = {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("probabilities", "mass", "entropy")
        }
        other.__dict__.update(known, rest=rest)
        return other

    @cached_property
    def positions(self) -> NDArray[np.int32]:  # (V,) -1 where the token is not among these
        """Where each token stands here, by token id, from 0."""
        highest = int(self.token_ids.max()) + 1
        return _places_of(self.token_ids, max(highest, self.vocab_size or 0))

    def place_of(self, token_id: int) -> int | None:
        """Where one token stands here, from 0; `None` if it does not."""
        found = np.flatnonzero(self.token_ids == token_id)
        return int(found[0]) if len(found) else None

    def first(self, count: int) -> "Candidates":
        """The `count` most probable; no copy is made."""
        return self.window(0, count)

    def window(self, start: int, stop: int) -> "Candidates":
        """Those from place `start` to before `stop`; no copy is made."""
        if start <= 0 and stop >= len(self):
            return self
        offset = None if self.offset is None else self.offset + start
        return Candidates(
            self.token_ids[start:stop], self.logits[start:stop], offset, self.vocab_size
        )

    def where(self, keep: NDArray[np.bool_]) -> "Candidates":
        """Those for which `keep`, `(n,)`, is true; at least the most probable one.

        >>> two = Candidates(np.arange(3), np.zeros(3)).where(np.array([True, False, True]))
        >>> two.token_ids.tolist()
        [0, 2]
        """
        if keep.all():
            return self
        logits = self.logits[keep]
        if len(logits) == 0 or not np.isfinite(logits[0]):  # nothing, or nothing possible
            return self.first(1)
        return Candidates(self.token_ids[keep], logits, None, self.vocab_size)

    def with_logits(self, places: NDArray[np.int64], logits: NDArray[np.float64]) -> "Candidates":
        """The same tokens, those at `places` with other logits, in their new order.

        A few tokens are merged into the order of all others, which a whole sort would make
        anew.

        >>> three = Candidates(np.arange(3), np.array([3.0, 2.0, 1.0]))
        >>> three.with_logits(np.array([0]), np.array([1.5])).token_ids.tolist()
        [1, 0, 2]
        """
        moved_ids = self.token_ids[places]
        inner = np.lexsort((moved_ids, -logits))
        moved_ids, moved = moved_ids[inner], logits[inner]
        others_ids, others = np.delete(self.token_ids, places), np.delete(self.logits, places)
        ascending = -others
        left = np.searchsorted(ascending, -moved, side="left")
        right = np.searchsorted(ascending, -moved, side="right")
        for tied in np.flatnonzero(left != right):  # equal logits: the lower token id first
            among = others_ids[left[tied] : right[tied]]
            left[tied] += np.searchsorted(among, moved_ids[tied])
        return Candidates(
            np.insert(others_ids, left, moved_ids),
            np.insert(others, left, moved),
            None,
            self.vocab_size,
        )


def in_order(token_ids: NDArray[np.int64], logits: NDArray[np.float64]) -> NDArray[np.int64]:
    """Places of these tokens from the highest logit down, equal ones by lower token id.

    Meant for what is nearly sorted: a stable sort is quick there.
    """
    order = np.argsort(-logits, kind="stable")
    ordered, ids = logits[order], token_ids[order]
    tied = ordered[1:] == ordered[:-1]
    if np.any(tied & (ids[1:] < ids[:-1])):
        order = np.lexsort((token_ids, -logits))
    return order


@dataclass(frozen=True, eq=False)
class Distribution:
    """What a model says comes next.

    A local model gives all V tokens. A server that sends only its most probable ones gives
    a distribution with `coverage` below 1: the mass that its tokens hold together. None that
    it did not send is more probable than the last one that it sent.

    >>> sent = Distribution(np.arange(2), np.log([0.5, 0.3]), coverage=0.8, vocab_size=10)
    >>> sent.probabilities.round(3).tolist(), sent.entropy
    ([0.5, 0.3], None)
    """

    token_ids: NDArray[np.int64]  # (n,) most probable first
    logits: NDArray[np.float64]  # (n,) descending
    coverage: float = 1.0
    vocab_size: int | None = None  # V, when it is known to exceed the largest token id
    true_logits: bool = True  # False: log-probabilities, all that a server gives

    def __post_init__(self) -> None:
        if len(self.token_ids) != len(self.logits) or len(self.logits) == 0:
            raise ValueError(
                f"a distribution needs as many logits as token ids, and at least one; "
                f"got {len(self.token_ids)} token ids and {len(self.logits)} logits"
            )
        if not 0.0 < self.coverage <= 1.0:
            raise ValueError(f"coverage must be above 0 and at most 1, got {self.coverage!r}")

    @classmethod
    def from_logits(cls, logits: ArrayLike) -> "Distribution":
        """Sort the logits of all V tokens, `(V,)`; the index is the token id.

        Raises `ValueError` for NaN, +inf, no finite value, or a wrong shape. -inf is a
        token of probability 0.

        >>> Distribution.from_logits([0.0, 2.0, 2.0, -np.inf]).token_ids.tolist()
        [1, 2, 0, 3]
        """
        values = np.asarray(logits)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"logits must have the shape (V,), got {values.shape}")
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
        order = _descending(values)
        return cls.in_order(order, values[order].astype(np.float64))

    @classmethod
    def in_order(cls, token_ids: NDArray[np.int64], logits: NDArray[np.float64]) -> "Distribution":
        """All V tokens, sorted already: descending logits `(V,)`, equal ones by lower token id.

        NaN may stand at either end, or at both. Raises `ValueError` as `from_logits` does.

        >>> Distribution.in_order(np.array([2, 0, 1]), np.log([0.5, 0.25, 0.25])).rank_of(0)
        2
        """
        # NaN sorts to one end of the array and +inf to the top, so two looks find them all.
        highest, lowest = logits[0], logits[-1]
        if np.isnan(highest) or np.isnan(lowest) or not np.isfinite(highest):
            raise ValueError("logits must not hold NaN or +inf, and one must be finite")
        return cls(token_ids, logits, vocab_size=len(logits))

    @cached_property
    def candidates(self) -> Candidates:
        """All known tokens as the start of a chain."""
        known = Candidates(self.token_ids, self.logits, 0, self.size)
        if self.coverage == 1.0:
            return known
        odds = (1 - self.coverage) / self.coverage
        return known.with_rest(math.log(odds) - math.log(known.probabilities[0]))

    @property
    def probabilities(self) -> NDArray[np.float64]:  # (n,) sums to `coverage`
        """The raw probabilities: softmax at temperature 1."""
        return self.candidates.probabilities

    @property
    def entropy(self) -> float | None:
        """Shannon entropy in nats; unknown (`None`) when part of the mass is unknown."""
        return self.candidates.entropy if self.coverage == 1.0 else None

    @cached_property
    def tail(self) -> Tail:
        """What is known of the tokens that are not here."""
        if self.coverage == 1.0:
            return NO_TAIL
        return Tail.beside(
            float(self.logits[-1]),
            float(self.logits[0] + self.candidates.rest),
            math.inf if self.vocab_size is None else self.vocab_size - len(self.token_ids),
        )

    @property
    def entropy_bounds(self) -> tuple[float, float | None]:
        """The least and the greatest entropy, in nats, that what is known allows.

        `None` where nothing bounds it: the number of the other tokens is not known.

        >>> sent = Distribution(np.arange(2), np.log([0.5, 0.25]), coverage=0.75, vocab_size=6)
        >>> low, high = sent.entropy_bounds  # one more token of 0.25, or four that share it
        >>> round(low / math.log(2), 6), round(high / math.log(2), 6)
        (1.5, 2.0)
        """
        if self.coverage == 1.0:
            return self.candidates.entropy, self.candidates.entropy
        p = self.probabilities
        known = -float(p[p > 0] @ np.log(p[p > 0]))
        low, high = self.tail.entropy_terms(float(np.log(p[0]) - self.logits[0]))
        return known + low, None if high == math.inf else known + high

    @cached_property
    def size(self) -> int:
        """V as far as it is known: one more than the largest token id, or `vocab_size`."""
        return self.vocab_size or int(self.token_ids.max()) + 1

    @cached_property
    def positions(self) -> NDArray[np.int32]:  # (V,) -1 where the token is unknown
        """Where each token stands in the order, by token id, from 0."""
        return _places_of(self.token_ids, self.size)

    def rank_of(self, token_id: int) -> int | None:
        """1 for the most probable token; `None` for a token outside what is known.

        >>> Distribution.from_logits([0.1, 0.9, 0.5]).rank_of(2)
        2
        """
        if not 0 <= token_id < self.size:
            return None
        # Looking for one token takes a fifth of the time of indexing all.
        place = self.candidates.place_of(token_id)
        return None if place is None else place + 1


def _places_of(token_ids: NDArray[np.int64], size: int) -> NDArray[np.int32]:  # (size,)
    places = np.full(size, -1, np.int32) if len(token_ids) < size else np.empty(size, np.int32)
    places[token_ids] = np.arange(len(token_ids), dtype=np.int32)
    return places


def _descending(values: NDArray[np.floating]) -> NDArray[np.int64]:
    """Indices that sort `values` from high to low, equal values by lower index."""
    if values.dtype != np.float32:
        return np.argsort(-values, kind="stable")
    # NumPy's stable sort is a radix sort on 16-bit keys only. Two such passes over the bits
    # of a float32, turned so that a greater float is a smaller unsigned number, take half
    # the time of its argsort on a vocabulary of 262,144.
    bits = (values + np.float32(0)).view(np.int32)  # + 0 turns -0.0 into 0.0
    keys = (bits ^ (~(bits >> 31) & np.int32(0x7FFFFFFF))).view(np.uint32)
    order = np.argsort((keys & np.uint32(0xFFFF)).astype(np.uint16), kind="stable")
    high = (keys >> np.uint32(16)).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")]
