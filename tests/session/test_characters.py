"""The next character, against a sum over every row of tokens that can complete it."""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend, ContextTooLong
from explorer.decoding import (
    Chain,
    Distribution,
    MirostatV1,
    MirostatV2,
    ParameterError,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    Xtc,
    advance,
    decode,
)
from explorer.session import CharacterReading, Mass, Way, read_characters
from tests.backends import tiny

in_short = settings(max_examples=60, deadline=None)
FULL: dict[str, Any] = {"bound": 0.0, "most_passes": 10_000, "most": 10_000}
A_I = "あ".encode() + "い".encode()[:1]  # one and a third characters
VOCABULARY = [
    b"a",
    b"ab",
    "é".encode(),
    b"\xc3",
    b"\xa9",
    "あ".encode(),
    A_I,
    b"\xe3",
    b"\x81",
    b"\x82",
    b"\x81\x82",
    b"\xe3\x81",
    b"\x84a",
    "😀".encode(),
    b"\xf0\x9f",
    b"\x98",
    b"\x80\xe3",
    b"\xff",
    b"</s>",
    b"",
]
END = 18
CHAINS: list[Chain] = [
    (),
    (TopK(7),),
    (Temperature(0.6), TopP(0.8)),
    (MirostatV2(2.0, 0.9), Temperature(1.3)),
    (MirostatV1(2.0, 0.5), RepetitionPenalty(1.7)),
    (Xtc(0.05, 0.5),),
]


class Random(ScriptedBackend):
    """Says something else after every prefix, always the same for a seed."""

    def __init__(self, seed: int, vocabulary: list[bytes] = VOCABULARY, **more: Any) -> None:
        super().__init__(vocabulary, special=[END], end_token_ids=(END,), **more)
        self.seed = seed

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        row = np.random.default_rng([self.seed, *prefix]).dirichlet([0.5] * self.info.vocab_size)
        self._script.setdefault(prefix, row.tolist())
        return super().next_distribution(prefix)


@dataclass
class Sums:
    """Everything there is, by plain recursion: raw and final."""

    characters: Any = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    ways: Any = field(default_factory=lambda: defaultdict(dict))
    silent: Any = field(default_factory=lambda: defaultdict(lambda: [0.0, 0.0]))
    broken: list[float] = field(default_factory=lambda: [0.0, 0.0])


def add(into: list[float], raw: float, final: float) -> None:
    into[0] += raw
    into[1] += final


def summed(backend: Backend, prefix: tuple[int, ...], chain: Chain, pending: bytes = b"") -> Sums:
    sums = Sums()

    def go(ids: tuple[int, ...], spelled: bytes, raw: float, final: float, here: Chain) -> None:
        trace = decode(backend.next_distribution(prefix + ids), here, prefix + ids)
        known = trace.distribution
        for token_id, share in zip(
            known.token_ids.tolist(), known.probabilities.tolist(), strict=True
        ):
            token, path = backend.token(token_id), (*ids, token_id)
            masses = raw * share, final * float(trace.probabilities[token_id])
            if token.special or not token.raw:
                add(sums.silent[token_id], *masses)
                continue
            together = spelled + token.raw
            try:
                character = together.decode()[0]
            except UnicodeDecodeError as error:
                if error.start:
                    character = together[: error.start].decode()[0]
                elif error.reason == "unexpected end of data":
                    if max(masses) > 0:
                        go(path, together, *masses, advance(here, trace, token_id))
                    continue
                else:
                    add(sums.broken, *masses)
                    continue
            add(sums.characters[character], *masses)
            sums.ways[character][path] = masses[0]

    go((), pending, 1.0, 1.0, chain)
    return sums


def close(masses: list[float]) -> Any:
    return pytest.approx(masses, abs=1e-12)


def check_all(reading: CharacterReading, sums: Sums) -> None:
    """Every number of a search that went to its end."""
    assert {row.character: [row.mass.raw, row.mass.final] for row in reading.characters} == {
        character: close(masses) for character, masses in sums.characters.items() if max(masses) > 0
    }
    for row in reading.characters:
        ways = sums.ways[row.character]
        assert row.tokens == len(ways)
        assert [way.raw for way in row.ways] == close(sorted(ways.values(), reverse=True)[:5])
        assert all(way.raw == close(ways[way.token_ids]) for way in row.ways)
    assert {row.token_id: [row.mass.raw, row.mass.final] for row in reading.silent} == {
        token_id: close(masses) for token_id, masses in sums.silent.items() if max(masses) > 0
    }
    assert [reading.broken.raw, reading.broken.final] == close(sums.broken)
    assert reading.unexpanded == Mass(0, 0)
    assert (reading.pieces, reading.other_pieces.count) == ((), 0)


def check_total(reading: CharacterReading) -> None:
    parts = [
        *(row.mass for row in reading.characters),
        reading.other_characters.mass,
        *(row.mass for row in reading.silent),
        reading.other_silent.mass,
        reading.broken,
        *(piece.mass for piece in reading.pieces),
        reading.other_pieces.mass,
    ]
    assert sum(part.raw for part in parts) + reading.unknown == pytest.approx(1, abs=1e-9)
    final = sum(part.final for part in parts) + reading.unknown_final
    assert final == pytest.approx(1, abs=1e-9)


def check_bounds(reading: CharacterReading, sums: Sums) -> None:
    """The true mass lies between what is shown and that plus what was not followed."""
    left = reading.unexpanded
    shown = {row.character: row.mass for row in reading.characters}
    for character, (raw, final) in sums.characters.items():
        mass = shown.get(character, Mass(0, 0))
        assert mass.raw - 1e-12 <= raw <= mass.raw + left.raw + reading.unknown + 1e-12
        assert mass.final - 1e-12 <= final <= mass.final + left.final + 1e-12


@in_short
@given(st.integers(0, 10**6), st.sampled_from(CHAINS))
def test_every_character_is_the_sum_of_all_ways_to_it(seed: int, chain: Chain) -> None:
    backend = Random(seed)
    reading = read_characters(backend, (0,), chain, 1, **FULL)
    check_all(reading, summed(backend, (0,), chain))
    check_total(reading)
    order = [(-row.mass.final, -row.mass.raw, row.character) for row in reading.characters]
    assert order == sorted(order)


@in_short
@given(
    st.integers(0, 10**6),
    st.sampled_from(CHAINS),
    st.sampled_from([b"\xe3", b"\xe3\x81", b"\xf0\x9f", b"\xc3"]),
)
def test_bytes_that_are_pending(seed: int, chain: Chain, pending: bytes) -> None:
    backend = Random(seed)
    reading = read_characters(backend, (0, 7), chain, 1, pending=pending, **FULL)
    check_all(reading, summed(backend, (0, 7), chain, pending))
    check_total(reading)
    assert reading.pending == pending


@in_short
@given(
    st.integers(0, 10**6),
    st.sampled_from(CHAINS),
    st.sampled_from([0.0, 0.01, 0.1, 0.5, 1.0]),
    st.integers(0, 4),
)
def test_a_search_that_ends_early_tells_what_is_missing(
    seed: int, chain: Chain, bound: float, most_passes: int
) -> None:
    backend = Random(seed)
    reading = read_characters(
        backend, (0,), chain, 1, bound=bound, most_passes=most_passes, most=10_000
    )
    check_total(reading)
    check_bounds(reading, summed(backend, (0,), chain))
    assert reading.passes <= most_passes
    if reading.passes < most_passes:
        assert reading.unexpanded.greater <= bound
    for piece in reading.pieces:
        assert piece.spelled == b"".join(VOCABULARY[token_id] for token_id in piece.token_ids)


def test_the_most_probable_pieces_are_followed_first() -> None:
    asked: list[list[tuple[int, ...]]] = []

    class Watched(Random):
        def next_distributions(self, prefixes):  # type: ignore[no-untyped-def]
            asked.append(list(prefixes))
            return super().next_distributions(prefixes)

    backend = Watched(3)
    probabilities = [0.0] * len(VOCABULARY)
    for token_id, probability in {0: 0.5, 3: 0.1, 7: 0.3, 11: 0.04, 14: 0.06}.items():
        probabilities[token_id] = probability
    backend._script[0,] = probabilities
    reading = read_characters(backend, (0,), (), 1, bound=0.12, most_passes=1)
    # 0.2 is left of 0.5 with the first, 0.1 with the second: no more are asked than needed.
    assert asked == [[(0, 7), (0, 3)]]
    assert reading.passes == 1
    # A piece that the chain keeps and the model alone would not comes first just as well.
    asked.clear()
    read_characters(backend, (0,), (Temperature(100.0), TopK(2)), 1, bound=0.3, most_passes=1)
    assert asked == [[(0, 7)]]


def test_a_context_without_room_leaves_pieces_as_they_are() -> None:
    backend = Random(5, context_length=2)
    full = read_characters(backend, (0, 0), (), 1, **FULL)
    assert full.passes == 0
    assert {len(piece.token_ids) for piece in full.pieces} == {1}
    assert full.unexpanded.raw == pytest.approx(sum(piece.mass.raw for piece in full.pieces))
    check_total(full)
    almost = read_characters(backend, (0,), (), 1, **FULL)
    assert almost.passes > 0
    assert {len(piece.token_ids) for piece in almost.pieces} == {2}
    check_total(almost)
    check_bounds(almost, summed(Random(5), (0,), ()))
    with pytest.raises(ContextTooLong):
        read_characters(backend, (0, 0, 0), (), 1)


def test_what_is_not_listed_is_counted() -> None:
    backend = Random(11)
    every = read_characters(backend, (0,), (), 1, bound=0.0, most_passes=1, most=100)
    some = read_characters(backend, (0,), (), 1, bound=0.0, most_passes=1, most=1)
    assert some.characters == every.characters[:1]
    assert some.pieces == every.pieces[:1]
    assert some.silent == every.silent[:1]
    assert some.other_characters.count == len(every.characters) - 1
    assert some.other_pieces.count == len(every.pieces) - 1
    assert some.other_silent.count == len(every.silent) - 1 == 1
    check_total(some)


def test_a_character_and_its_ways() -> None:
    # "あ" as itself, with the beginning of the next one, and byte by byte.
    script = {
        (0,): [0, 0, 0, 0, 0, 0.5, 0.25, 0.125, 0, 0, 0, 0.0625, 0, 0, 0, 0, 0, 0, 0.0625, 0],
        (0, 7): [0, 0, 0, 0, 0, 0, 0, 0, 0.5, 0, 0.125, 0, 0, 0, 0, 0, 0, 0, 0.375, 0],
        (0, 11): [0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        (0, 7, 8): [0, 0, 0, 0, 0, 0, 0, 0, 0, 0.5, 0, 0, 0.5, 0, 0, 0, 0, 0, 0, 0],
    }
    backend = ScriptedBackend(VOCABULARY, script, special=[END])
    reading = read_characters(backend, (0,), (), 1, **FULL)
    a, i = reading.characters
    assert (a.character, a.mass.raw) == ("あ", pytest.approx(0.859375))
    assert (i.character, i.mass.raw) == ("い", pytest.approx(0.03125))
    assert {way.token_ids: way.raw for way in a.ways} == {
        (5,): pytest.approx(0.5),
        (6,): pytest.approx(0.25),
        (11, 9): pytest.approx(0.0625),
        (7, 8, 9): pytest.approx(0.03125),
        (7, 10): pytest.approx(0.015625),
    }
    assert [way.token_ids for way in i.ways] == [(7, 8, 12)]  # (11, 12) never comes
    (end,) = reading.silent
    assert end.token_id == END
    assert end.mass.raw == pytest.approx(0.0625 + 0.125 * 0.375)  # also in mid-character
    assert (reading.broken, reading.passes) == (Mass(0, 0), 2)


def test_a_cut_piece_has_no_final_mass_and_is_followed_all_the_same() -> None:
    probabilities = [0.0] * len(VOCABULARY)
    probabilities[0], probabilities[7] = 0.6, 0.4
    after = [0.0] * len(VOCABULARY)
    after[10] = 1.0
    backend = ScriptedBackend(VOCABULARY, {(0,): probabilities, (0, 7): after})
    reading = read_characters(backend, (0,), (TopK(1),), 1, **FULL)
    assert [(row.character, row.mass) for row in reading.characters] == [
        ("a", Mass(0.6, 1.0)),
        ("あ", Mass(0.4, 0.0)),
    ]


def test_what_a_server_did_not_send_is_unknown() -> None:
    class Partial(ScriptedBackend):
        def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
            known = {(0,): [0, 7], (0, 7): [10, 0]}[prefix]
            return Distribution(np.array(known), np.log([0.5, 0.3]), 0.8, self.info.vocab_size)

    reading = read_characters(Partial(VOCABULARY), (0,), (), 1, **FULL)
    assert [(row.character, row.mass.raw) for row in reading.characters] == [
        ("a", pytest.approx(0.5)),
        ("あ", pytest.approx(0.3 * 0.5)),
    ]
    assert reading.broken.raw == pytest.approx(0.3 * 0.3)
    assert reading.unknown == reading.unknown_final == pytest.approx(0.2 + 0.3 * 0.2)
    check_total(reading)


@pytest.mark.parametrize("chain", CHAINS)
def test_a_real_model_in_the_middle_of_a_character(chain: Chain) -> None:
    backend = tiny.backend("llama")
    (byte,) = (token_id for token_id in range(384) if backend.spelling().of(token_id) == b"\xe6")
    prefix = (*backend.encode("日本"), byte)
    reading = read_characters(backend, prefix, chain, 1, pending=b"\xe6", **FULL)
    assert len(reading.characters) == 4096
    check_all(reading, summed(backend, prefix, chain, b"\xe6"))
    check_total(reading)


def test_bytes_that_wait_for_nothing_are_refused() -> None:
    with pytest.raises(ParameterError, match="pending"):
        read_characters(Random(0), (0,), (), 1, pending=b"a")


@pytest.mark.parametrize("chain", [(), (TopK(60), MirostatV2(3.0, 0.5))], ids=["pure", "chain"])
def test_a_real_model(chain: Chain) -> None:
    backend = tiny.backend("llama")
    prefix = backend.encode("日本")
    reading = read_characters(backend, prefix, chain, len(prefix), bound=0.02, most=10_000)
    check_total(reading)
    longer = read_characters(
        backend, prefix, chain, len(prefix), bound=0.002, most_passes=40, most=10_000
    )
    assert longer.unexpanded.greater <= 0.002
    assert longer.passes > reading.passes
    left = reading.unexpanded
    shown = {row.character: row.mass for row in reading.characters}
    # Up to 0.002, the longer search is the truth.
    for row in longer.characters:
        mass = shown.get(row.character, Mass(0, 0))
        assert mass.raw - 1e-9 <= row.mass.raw <= mass.raw + left.raw + 1e-9
        assert mass.final - 1e-9 <= row.mass.final <= mass.final + left.final + 1e-9
    way = max((w for row in longer.characters for w in row.ways if len(w.token_ids) > 1), key=raw)
    scored = backend.score(prefix + way.token_ids)[len(prefix) :]
    logprob = sum(token.logprob or 0 for token in scored)
    assert way.raw == pytest.approx(np.exp(logprob), rel=1e-4)


def raw(way: Way) -> float:
    return way.raw
