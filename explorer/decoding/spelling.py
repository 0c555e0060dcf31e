"""A vocabulary's bytes, indexed: what each token makes of the next character, or of a word.

A token need be no character: it can be a part of one, several, or one and a half. What counts
here is the first character that its bytes complete, together with the bytes that wait for
their rest at the end of the text.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from explorer.decoding.parameters import ParameterError

# What a token makes of the next character: its code point, or one of these. In a table of
# outcomes, which ascends, these three always come first.
PIECE = -1  # no whole character yet
BROKEN = -2  # bytes that no further byte can make a character of
NOTHING = -3  # no bytes at all: a special token, or an unused one

HEAD = 4  # bytes of the longest character

# UTF-8 (RFC 3629, section 4). By the first byte: how many bytes the character has, 0 where
# none begins so, and between which two the second byte must lie.
_SIZE = np.zeros(256, dtype=np.uint8)
_SIZE[0x00:0x80], _SIZE[0xC2:0xE0], _SIZE[0xE0:0xF0], _SIZE[0xF0:0xF5] = 1, 2, 3, 4
_LOW = np.full(256, 0x80, dtype=np.uint8)
_LOW[0xE0], _LOW[0xF0] = 0xA0, 0x90
_HIGH = np.full(256, 0xBF, dtype=np.uint8)
_HIGH[0xED], _HIGH[0xF4] = 0x9F, 0x8F
_BITS = np.array([0, 0x7F, 0x1F, 0x0F, 0x07], dtype=np.int32)  # of the first byte, by size


@dataclass(frozen=True, eq=False, slots=True)
class NextCharacters:
    """What the tokens of one distribution make of the next character, summed.

    With bytes pending, only the tokens that can matter are kept one by one; all others break
    the character, and count as that in the sums.
    """

    token_ids: NDArray[np.int64]  # (n,) as they were given
    probabilities: NDArray[np.float64]  # (n,)
    slots: NDArray[np.int32]  # (n,) where the outcome of each stands in the next three
    outcomes: NDArray[np.int32]  # (c,) ascending: below 0 as above, else a code point
    masses: NDArray[np.float64]  # (c,)
    counts: NDArray[np.int64]  # (c,) tokens
    nothing: NDArray[np.float64]  # (s,) mass of each token of `Spelling.nothing`

    @property
    def characters(self) -> list[tuple[int, float, int]]:
        """Code point, mass and number of tokens, ascending by code point."""
        there = (self.outcomes >= 0) & (self.counts > 0)
        rows = (self.outcomes[there], self.masses[there], self.counts[there])
        return list(zip(*(row.tolist() for row in rows), strict=True))

    @property
    def pieces(self) -> list[tuple[int, float]]:
        """The tokens that leave the character unfinished, and the mass of each."""
        places = np.flatnonzero(self.slots == PIECE - NOTHING)
        ids, masses = self.token_ids[places], self.probabilities[places]
        return list(zip(ids.tolist(), masses.tolist(), strict=True))

    @property
    def broken(self) -> float:
        """The mass of the tokens with which no character can come about."""
        return float(self.masses[BROKEN - NOTHING])

    def best(self, codes: Collection[int], count: int) -> dict[int, list[tuple[int, float]]]:
        """For each of these code points its first `count` tokens in the order given.

        A code point that no token completes is left out.
        """
        wanted = np.isin(self.outcomes, np.fromiter(codes, dtype=np.int32, count=len(codes)))
        places = np.flatnonzero(wanted[self.slots])
        places = places[np.argsort(self.slots[places], kind="stable")]
        slots = self.slots[places]
        starts = np.flatnonzero(np.diff(slots, prepend=-1))
        within = np.arange(len(places)) - np.repeat(starts, np.diff(starts, append=len(places)))
        places = places[within < count]
        best: dict[int, list[tuple[int, float]]] = {}
        rows = (
            self.outcomes[self.slots[places]],
            self.token_ids[places],
            self.probabilities[places],
        )
        for code, token_id, mass in zip(*(row.tolist() for row in rows), strict=True):
            best.setdefault(code, []).append((token_id, mass))
        return best


class Spelling:
    """The bytes of all V tokens, sorted and by first character; built once for a model.

    `None` and empty bytes are a token that spells nothing. Some 25 bytes a token.

    >>> spelling = Spelling([b"a", b"ab", "あい".encode(), b"\\xe3\\x81", b"\\x82", None])
    >>> found = spelling.next_characters([0, 1, 2, 3, 4, 5], [0.1, 0.2, 0.3, 0.2, 0.1, 0.1])
    >>> [(chr(code), round(mass, 3), count) for code, mass, count in found.characters]
    [('a', 0.3, 2), ('あ', 0.3, 1)]
    >>> found.pieces, found.broken, found.nothing.tolist()
    ([(3, 0.2)], 0.1, [0.1])
    >>> after = spelling.next_characters([4, 0], [0.75, 0.25], b"\\xe3\\x81")
    >>> [chr(code) for code, *_ in after.characters], after.broken
    (['あ'], 0.25)
    >>> spelling.within(b"abc").tolist(), spelling.past(b"a").tolist()
    ([0, 1], [1])
    """

    def __init__(self, vocabulary: Iterable[bytes | None]) -> None:
        raws = [raw or b"" for raw in vocabulary]
        lengths = np.fromiter(map(len, raws), dtype=np.int32, count=len(raws))
        self._bytes = b"".join(raws)
        self._starts = np.zeros(len(raws) + 1, dtype=np.int32)
        np.cumsum(lengths, out=self._starts[1:])
        self._longest = int(lengths.max(initial=0))
        spelled = np.flatnonzero(lengths).tolist()
        self._order = np.array(sorted(spelled, key=raws.__getitem__), dtype=np.int32)
        self.nothing = np.flatnonzero(lengths == 0)  # (s,) token ids

        padded = np.frombuffer(self._bytes + bytes(HEAD), dtype=np.uint8)
        heads = padded[self._starts[:-1, None] + np.arange(HEAD)]
        firsts = _first_characters(heads, lengths)
        self._outcomes, self._slots = _table(firsts)
        # Only a byte 80 to BF goes on with a character; few tokens begin with one.
        goes_on = (lengths > 0) & (heads[:, 0] & 0xC0 == 0x80)
        self._followers = np.flatnonzero(goes_on)
        self._heads, self._lengths = heads[goes_on], lengths[goes_on]
        self._matters = goes_on | (lengths == 0)  # where something is pending

    def __len__(self) -> int:
        return len(self._slots)

    def of(self, token_id: int) -> bytes:
        """The bytes of a token; empty for one that spells nothing."""
        return self._bytes[self._starts[token_id] : self._starts[token_id + 1]]

    def next_characters(
        self, token_ids: ArrayLike, probabilities: ArrayLike, pending: bytes = b""
    ) -> NextCharacters:
        """Sum these tokens' probabilities, `(n,)` both, by what each makes of the next character.

        `pending` are the bytes of an unfinished character that the text ends in. Raises
        `ParameterError` for bytes that are not the beginning of one.
        """
        ids, masses = np.asarray(token_ids), np.asarray(probabilities, dtype=np.float64)
        if not pending:
            return self._summed(ids, masses, self._outcomes, self._slots[ids])
        if not is_beginning(pending):
            raise ParameterError("pending", pending, "the beginning of a UTF-8 character")
        matters = self._matters[ids]
        others = masses[~matters]
        ids, masses = ids[matters], masses[matters]
        firsts = np.full(len(ids), NOTHING, dtype=np.int32)
        follow = self._slots[ids] != 0
        firsts[follow] = self._after(pending, np.searchsorted(self._followers, ids[follow]))
        found = self._summed(ids, masses, *_table(firsts))
        found.masses[BROKEN - NOTHING] += others.sum()
        found.counts[BROKEN - NOTHING] += len(others)
        return found

    def within(self, text: bytes) -> NDArray[np.int64]:
        """The tokens that `text` begins with, the shortest first; `(m,)` token ids."""
        found = [self._order[:0]]
        low, high = 0, len(self._order)
        for length in range(1, min(len(text), self._longest) + 1):
            low, high = self._stretch(text[:length], low, high)
            end = bisect_right(self._order, text[:length], low, high, key=self.of)
            found.append(self._order[low:end])
            low = end  # what is as short as this can't go on
        return np.concatenate(found).astype(np.int64)

    def past(self, text: bytes) -> NDArray[np.int64]:
        """The tokens that begin with `text` and are longer, in the order of their bytes."""
        low, high = self._stretch(text, 0, len(self._order))
        start = bisect_right(self._order, text, low, high, key=self.of)
        return self._order[start:high].astype(np.int64)

    def _stretch(self, beginning: bytes, low: int, high: int) -> tuple[int, int]:
        """The part of the sorted order, between two places, that begins so."""
        low = bisect_left(self._order, beginning, low, high, key=self.of)

        def cut(token_id: int) -> bytes:
            return self.of(token_id)[: len(beginning)]

        return low, bisect_right(self._order, beginning, low, high, key=cut)

    def _after(self, pending: bytes, places: NDArray[np.int64]) -> NDArray[np.int32]:
        """What these followers make of the character that `pending` begins."""
        heads = np.empty((len(places), HEAD), dtype=np.uint8)
        heads[:, : len(pending)] = np.frombuffer(pending, dtype=np.uint8)
        heads[:, len(pending) :] = self._heads[places, : HEAD - len(pending)]
        return _first_characters(heads, self._lengths[places] + len(pending))

    def _summed(
        self,
        token_ids: NDArray[np.int64],
        masses: NDArray[np.float64],
        outcomes: NDArray[np.int32],
        slots: NDArray[np.int32],
    ) -> NextCharacters:
        size = len(outcomes)
        nothing = np.zeros(len(self.nothing))
        silent = slots == 0
        nothing[np.searchsorted(self.nothing, token_ids[silent])] = masses[silent]
        return NextCharacters(
            token_ids,
            masses,
            slots,
            outcomes,
            np.bincount(slots, masses, size).astype(np.float64),
            np.bincount(slots, minlength=size).astype(np.int64),
            nothing,
        )


def is_beginning(raw: bytes) -> bool:
    """Whether these bytes are the beginning of one character, and not the whole of it.

    >>> [is_beginning(raw) for raw in (b"", b"a", b"\\xe3", b"\\xe3\\x81", b"\\x81", b"a\\xe3")]
    [False, False, True, True, False, False]
    """
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        return error.start == 0 and error.reason == "unexpected end of data"
    return False


def _table(firsts: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The outcomes there are, ascending, and where each of `firsts` stands among them."""
    outcomes = np.unique(np.append(firsts, [NOTHING, BROKEN, PIECE]).astype(np.int32))
    return outcomes, np.searchsorted(outcomes, firsts).astype(np.int32)


def _first_characters(
    heads: NDArray[np.uint8], lengths: NDArray[np.int32]
) -> NDArray[np.int32]:  # (n,)
    """The first character of each row of bytes, `(n, 4)`, of which the first `lengths` count."""
    first = heads[:, 0]
    size = _SIZE[first]
    codes = first & _BITS[size]
    good = size > 0
    for place in range(1, HEAD):
        byte = heads[:, place]
        there = (place < size) & (place < lengths)
        low, high = (_LOW[first], _HIGH[first]) if place == 1 else (0x80, 0xBF)
        good &= ~there | ((byte >= low) & (byte <= high))
        codes = np.where(there, codes << 6 | byte & 0x3F, codes)
    outcomes = np.where(good, np.where(lengths < size, PIECE, codes), BROKEN)
    outcomes[lengths == 0] = NOTHING
    return outcomes.astype(np.int32)
