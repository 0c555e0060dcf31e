"""The next character rather than the next token.

Tokens that begin with the same character are summed. A token that is only a part of a
character is followed through the model, piece by piece, until the character is whole: the
mass of "日" is that of every token that begins with it, and of every row of tokens whose bytes
together do. What is not followed is told, so that every number is exact up to a bound: the
true mass of a character lies between what is shown and that plus `unexpanded` and what is
unknown.
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from explorer.backends.base import Backend
from explorer.decoding import Chain, NextCharacters, StatefulStep, Trace, advance, resume
from explorer.session.tracing import trace_prefix

BATCH = 32  # pieces that share a forward pass
BOUND = 0.01
MOST_PASSES = 4
MOST = 200
WAYS = 5


@dataclass(frozen=True, slots=True)
class Mass:
    """Raw: the model's own. Final: after the chain."""

    raw: float
    final: float

    @property
    def greater(self) -> float:
        return max(self.raw, self.final)


@dataclass(frozen=True, slots=True)
class Way:
    """Tokens that make the character: pieces, then the one that completes it."""

    token_ids: tuple[int, ...]
    raw: float


@dataclass(frozen=True, slots=True)
class Character:
    """One character that can come next, and all the ways to it together."""

    character: str
    mass: Mass
    tokens: int  # that complete it, over all prefixes that were looked at
    ways: tuple[Way, ...]  # the most probable first, by raw mass


@dataclass(frozen=True, slots=True)
class Silent:
    """A token that stands for no character, such as the end of the text."""

    token_id: int
    mass: Mass


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens after which the character is not yet whole, and that were followed no further."""

    token_ids: tuple[int, ...]
    spelled: bytes  # of the unfinished character, what was pending before included
    mass: Mass


@dataclass(frozen=True, slots=True)
class Rest:
    """What is not listed one by one."""

    count: int
    mass: Mass


@dataclass(frozen=True, slots=True)
class CharacterReading:
    """Everything that can come next, by character.

    The raw masses of characters, silent tokens, broken bytes, unexpanded pieces and the
    unknown add up to 1, and so do the final ones.
    """

    pending: bytes
    characters: tuple[Character, ...]  # by final mass, then raw mass, then code point
    other_characters: Rest
    silent: tuple[Silent, ...]  # in the same order, by token id at last
    other_silent: Rest
    broken: Mass  # of bytes that can never become a character
    pieces: tuple[Piece, ...]  # most probable first
    other_pieces: Rest
    unexpanded: Mass  # of all pieces together
    unknown: float  # raw mass that the model's server did not tell about
    passes: int  # batches of prefixes that the model was asked about, after the first one
    unknown_final: float = 0.0  # as `unknown`, of the final mass


@dataclass(frozen=True, eq=False, slots=True)
class _Place:
    """A prefix that was looked at: what made it, and what comes after it."""

    token_ids: tuple[int, ...]  # pieces after the prefix
    spelled: bytes
    mass: Mass
    chain: Chain  # in its state there
    trace: Trace | None  # kept only where a rule remembers: it holds the whole vocabulary


@dataclass(order=True, slots=True)
class _Waiting:
    """A piece that could be followed; the most probable sorts first, then what came first."""

    order: tuple[float, int]
    place: _Place = field(compare=False)
    token_id: int = field(compare=False)
    mass: Mass = field(compare=False)


def read_characters(
    backend: Backend,
    prefix: tuple[int, ...],
    chain: Chain,
    start: int,
    *,
    pending: bytes = b"",
    bound: float = BOUND,
    most_passes: int = MOST_PASSES,
    most: int = MOST,
) -> CharacterReading:
    """What character comes after the prefix.

    `chain` is in the state it has there, and `start` is the length of the prompt, after which
    constraints begin. `pending` are the bytes of an unfinished character that the prefix
    ends in; `ParameterError` if they are not the beginning of one. The most probable pieces
    are followed first, up to 32 in a batch, until at most `bound` of raw and of final mass is
    left or `most_passes` batches were asked. A prefix that fills the context is not followed.
    At most `most` characters, silent tokens and pieces are listed one by one; sums are of all.
    """
    search = _Search(backend, prefix, start, chain, pending)
    passes = 0
    while passes < most_passes and (batch := search.batch(bound)):
        backend.next_distributions([(*prefix, *ids) for ids in map(search.path, batch)])
        for piece in batch:
            search.follow(piece)
        passes += 1
    return search.reading(most, passes)


class _Search:
    """What is summed so far, and what waits to be followed."""

    def __init__(
        self, backend: Backend, prefix: tuple[int, ...], start: int, chain: Chain, pending: bytes
    ) -> None:
        self.backend, self.prefix, self.start, self.chain = backend, prefix, start, chain
        self.spelling = backend.spelling()
        self.pending = pending
        self.room = backend.info.context_length - len(prefix)
        self.sums: dict[int, list[float]] = {}  # code point -> raw, final, tokens
        self.found: list[tuple[_Place, NextCharacters]] = []
        self.silent: list[Any] = [0.0, 0.0]  # raw, final: of each token that spells nothing
        self.broken: list[Mass] = []
        self.unknown: list[Mass] = []
        self.waiting: list[_Waiting] = []
        self.stuck: list[_Waiting] = []  # at the end of the context
        self.count = 0
        self._look((), pending, Mass(1.0, 1.0), chain)

    def path(self, piece: _Waiting) -> tuple[int, ...]:
        return (*piece.place.token_ids, piece.token_id)

    def batch(self, bound: float) -> list[_Waiting]:
        """The most probable pieces: no more than bring what is left below the bound.

        They may be followed by further pieces, which then are left for the next batch.
        """
        left = self.unexpanded
        raw, final = left.raw, left.final
        batch: list[_Waiting] = []
        while self.waiting and len(batch) < BATCH and max(raw, final) > bound:
            piece = heapq.heappop(self.waiting)
            batch.append(piece)
            raw, final = raw - piece.mass.raw, final - piece.mass.final
        return batch

    def follow(self, piece: _Waiting) -> None:
        before, chain = piece.place, piece.place.chain
        if before.trace:
            chain = resume(self.chain, advance(chain, before.trace, piece.token_id))
        self._look(self.path(piece), self._spelled(piece), piece.mass, chain)

    def _look(self, token_ids: tuple[int, ...], spelled: bytes, mass: Mass, chain: Chain) -> None:
        """Sum what comes after a prefix, and let its pieces wait."""
        trace = trace_prefix(self.backend, (*self.prefix, *token_ids), chain, self.start)
        remembers = any(isinstance(step, StatefulStep) for step in chain)
        place = _Place(token_ids, spelled, mass, chain, trace if remembers else None)
        known, kept = trace.distribution, trace.final
        raw = self.spelling.next_characters(known.token_ids, known.probabilities, spelled)
        final = self.spelling.next_characters(kept.token_ids, trace.at_least, spelled)
        for code, share, tokens in raw.characters:
            row = self.sums.setdefault(code, [0.0, 0.0, 0])
            row[0] += mass.raw * share
            row[2] += tokens
        for code, share, _ in final.characters:
            self.sums[code][1] += mass.final * share
        self.silent[0] = self.silent[0] + mass.raw * raw.nothing
        self.silent[1] = self.silent[1] + mass.final * final.nothing
        self.broken.append(Mass(mass.raw * raw.broken, mass.final * final.broken))
        if known.coverage < 1:
            hidden = max(0.0, 1 - float(trace.at_least.sum()))
            self.unknown.append(Mass(mass.raw * (1 - known.coverage), mass.final * hidden))
        self.found.append((place, raw))
        survivors = dict(final.pieces)
        queue = self.waiting if len(token_ids) < self.room else self.stuck
        for token_id, share in raw.pieces:
            piece = Mass(mass.raw * share, mass.final * survivors.get(token_id, 0.0))
            if piece.greater:
                self.count += 1
                order = (-piece.greater, self.count)
                heapq.heappush(queue, _Waiting(order, place, token_id, piece))

    @property
    def unexpanded(self) -> Mass:
        return _sum(piece.mass for piece in (*self.waiting, *self.stuck))

    def reading(self, most: int, passes: int) -> CharacterReading:
        rows = [(-final, -raw, code) for code, (raw, final, _) in self.sums.items()]
        listed, others = _listed(rows, most)
        raw, final = ((-masses).tolist() for masses in self.silent)
        numbers = self.spelling.nothing.tolist()
        silent, other_silent = _listed(list(zip(final, raw, numbers, strict=True)), most)
        left = sorted([*self.waiting, *self.stuck])
        ways = self._ways([code for code, _ in listed])
        return CharacterReading(
            self.pending,
            tuple(
                Character(chr(code), mass, int(self.sums[code][2]), ways[code])
                for code, mass in listed
            ),
            others,
            tuple(Silent(token_id, mass) for token_id, mass in silent),
            other_silent,
            _sum(self.broken),
            tuple(map(self._piece, left[:most])),
            Rest(len(left[most:]), _sum(piece.mass for piece in left[most:])),
            self.unexpanded,
            _sum(self.unknown).raw,
            passes,
            _sum(self.unknown).final,
        )

    def _piece(self, piece: _Waiting) -> Piece:
        return Piece(self.path(piece), self._spelled(piece), piece.mass)

    def _spelled(self, piece: _Waiting) -> bytes:
        return piece.place.spelled + self.spelling.of(piece.token_id)

    def _ways(self, codes: list[int]) -> dict[int, tuple[Way, ...]]:
        ways: dict[int, list[Way]] = {code: [] for code in codes}
        for place, found in self.found:
            for code, tokens in found.best(codes, WAYS).items():
                ways[code] += (
                    Way((*place.token_ids, token_id), place.mass.raw * share)
                    for token_id, share in tokens
                    if share
                )
        return {
            code: tuple(sorted(rows, key=lambda way: (-way.raw, way.token_ids))[:WAYS])
            for code, rows in ways.items()
        }


def _listed(rows: list[tuple[float, float, int]], most: int) -> tuple[list[tuple[int, Mass]], Rest]:
    """The first rows of any mass, and what is too many; a row is (-final, -raw, number)."""
    there = sorted(row for row in rows if row[0] or row[1])
    others = there[most:]
    left = Mass(math.fsum(-row[1] for row in others), math.fsum(-row[0] for row in others))
    listed = [(number, Mass(-raw, -final)) for final, raw, number in there[:most]]
    return listed, Rest(len(others), left)


def _sum(masses: Iterable[Mass]) -> Mass:
    listed = list(masses)
    return Mass(math.fsum(mass.raw for mass in listed), math.fsum(mass.final for mass in listed))
