"""Tokens in the running, most probable first: what a rule is given, and what it leaves."""

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

PART = 2**13  # tokens whose numbers stay in a core's own memory


def softmax_in_place(shifted: NDArray[np.float64], rest: float = -math.inf) -> NDArray[np.float64]:
    """Softmax of logits whose greatest is 0, written over them; `rest` is one more of them.

    On a large vocabulary a fresh array costs more than the arithmetic.
    """
    np.exp(shifted, out=shifted)
    shifted /= shifted.sum() + math.exp(rest)
    return shifted


class Head(Protocol):
    """The first candidates, or all: their probabilities are shares of all candidates."""

    @property
    def token_ids(self) -> NDArray[np.int64]: ...
    @property
    def logits(self) -> NDArray[np.float64]: ...
    @property
    def probabilities(self) -> NDArray[np.float64]: ...


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

    def head(self, count: int) -> Head:
        """At least the first `count` in order, if there are so many.

        A whole vocabulary is put in order only as far as somebody looks: who needs the first
        ones asks here.
        """
        return self

    @property
    def lowest(self) -> float:
        """The last logit."""
        return float(self.logits[-1])

    def count_from_logit(self, lowest: float) -> int:
        """How many have at least this logit."""
        logits = self.head(1).logits
        return tail_start(logits if logits[-1] < lowest else self.logits, lowest)

    def count_from(self, probability: float) -> int:
        """How many have at least this probability."""
        shares = self.head(1).probabilities
        return tail_start(shares if shares[-1] < probability else self.probabilities, probability)

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
        return places_by_id(self.token_ids, max(highest, self.vocab_size or 0))

    def place_of(self, token_id: int) -> int | None:
        """Where one token stands here, from 0; `None` if it does not."""
        found = np.flatnonzero(self.token_ids == token_id)
        return int(found[0]) if len(found) else None

    def places_of(
        self, token_ids: NDArray[np.int64], until: int | None = None
    ) -> NDArray[np.int64]:  # (m,)
        """Where each of these tokens stands here, from 0; -1 for one that does not.

        With `until`, what stands there or behind may count as not here, too.
        """
        positions = self.positions
        inside = token_ids < len(positions)
        return np.where(inside, positions[np.where(inside, token_ids, 0)], -1)

    def logits_of(self, token_ids: NDArray[np.int64]) -> NDArray[np.float64]:  # (m,)
        """The logit of each of these tokens; NaN for one that is not here."""
        places = self.places_of(token_ids)
        return np.where(places >= 0, self.logits[places], np.nan)

    def probabilities_of(self, token_ids: NDArray[np.int64]) -> NDArray[np.float64]:  # (m,)
        """The probability of each of these tokens; 0 for one that is not here."""
        places = self.places_of(token_ids)
        return np.where(places >= 0, self.probabilities[places], 0.0)

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

    def with_logits(
        self, token_ids: NDArray[np.int64], logits: NDArray[np.float64]
    ) -> "Candidates":
        """The same tokens, these of them with other logits, in their new order.

        A few tokens are merged into the order of all others, which a whole sort would make
        anew.

        >>> three = Candidates(np.array([5, 6, 7]), np.array([3.0, 2.0, 1.0]))
        >>> three.with_logits(np.array([5]), np.array([1.5])).token_ids.tolist()
        [6, 5, 7]
        """
        places = self.places_of(token_ids)
        inner = np.lexsort((token_ids, -logits))
        moved_ids, moved = token_ids[inner], logits[inner]
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


def tail_start(descending: NDArray[np.float64], lowest: float) -> int:
    """How many of the descending numbers are at least `lowest`."""
    return len(descending) - int(np.searchsorted(descending[::-1], lowest))


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


def places_by_id(token_ids: NDArray[np.int64], size: int) -> NDArray[np.int32]:  # (size,)
    places = np.full(size, -1, np.int32) if len(token_ids) < size else np.empty(size, np.int32)
    places[token_ids] = np.arange(len(token_ids), dtype=np.int32)
    return places
