"""What a model says comes next, over the whole vocabulary or the part that a server sent."""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.decoding.candidates import Candidates, Head
from explorer.decoding.head_first import HeadFirst, Order, descending
from explorer.decoding.tail import NO_TAIL, Tail

LARGE = 2**14  # tokens from which on it saves time to put the first ones in order only


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
    def from_logits(cls, logits: ArrayLike, *, copy: bool = True) -> "Distribution":
        """Rank the logits of all V tokens, `(V,)`; the index is the token id.

        Of a large vocabulary the first few thousand are put in order here, the others when
        somebody asks for them. Raises `ValueError` for NaN, +inf, no finite value, or a wrong
        shape. -inf is a token of probability 0. Logits that nobody writes to any more need no
        `copy`.

        >>> Distribution.from_logits([0.0, 2.0, 2.0, -np.inf]).token_ids.tolist()
        [1, 2, 0, 3]
        """
        values = np.asarray(logits)
        if values.ndim != 1 or values.size == 0:
            raise ValueError(f"logits must have the shape (V,), got {values.shape}")
        if values.dtype.kind != "f":
            values = values.astype(np.float64)
        highest = values.max()  # NaN if there is one
        if not np.isfinite(highest):
            raise ValueError("logits must not hold NaN or +inf, and one must be finite")
        if values.dtype == np.float32 and len(values) >= LARGE:
            return Unsorted(HeadFirst(Order.of(values.copy() if copy else values)))
        ids = descending(values)
        return cls(ids, values[ids].astype(np.float64), vocab_size=len(ids))

    @cached_property
    def candidates(self) -> Candidates:
        """All known tokens as the start of a chain."""
        known = Candidates(self.token_ids, self.logits, 0, self.size)
        if self.coverage == 1.0:
            return known
        odds = (1 - self.coverage) / self.coverage
        return known.with_rest(math.log(odds) - math.log(known.probabilities[0]))

    def __len__(self) -> int:
        return len(self.candidates)

    def head(self, count: int) -> Head:
        """At least the `count` most probable in order, if there are so many.

        >>> Distribution.from_logits([0.0, 2.0, 1.0]).head(1).token_ids[0]
        np.int64(1)
        """
        return self.candidates.head(count)

    @property
    def nbytes(self) -> int:
        """Bytes that this takes once everything is worked out that is kept with it."""
        return 2 * (self.token_ids.nbytes + self.logits.nbytes)

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

    @property
    def positions(self) -> NDArray[np.int32]:  # (V,) -1 where the token is unknown
        """Where each token stands in the order, by token id, from 0."""
        return self.candidates.positions

    def logit_of(self, token_id: int) -> float:
        """NaN for a token outside what is known."""
        return float(self.candidates.logits_of(np.array([token_id]))[0])

    def probability_of(self, token_id: int) -> float:
        """The raw probability; 0 for a token outside what is known."""
        return float(self.candidates.probabilities_of(np.array([token_id]))[0])

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


class Unsorted(Distribution):
    """All of a large vocabulary, of which the first are in order."""

    def __init__(self, candidates: HeadFirst) -> None:
        self.__dict__.update(
            candidates=candidates, coverage=1.0, vocab_size=len(candidates), true_logits=True
        )

    candidates: HeadFirst

    @property
    def token_ids(self) -> NDArray[np.int64]:
        return self.candidates.token_ids

    @property
    def logits(self) -> NDArray[np.float64]:
        return self.candidates.logits

    @property
    def nbytes(self) -> int:
        return self.candidates.order.nbytes
