"""The index of a vocabulary's bytes, against Python's own UTF-8 decoder."""

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from explorer.decoding import ParameterError, Spelling
from explorer.decoding.spelling import is_beginning

in_short = settings(max_examples=200, deadline=None)

# Every byte that UTF-8 draws a line at, and neighbours on both sides.
EDGES = bytes.fromhex("00 61 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 ff")
BEGINNINGS = [
    bytes.fromhex(row)
    for row in (
        "",
        "c2 df e0 e3 ed ef f0 f1 f4",
        "e0a0 e0bf e381 ed80 ed9f efbf f090 f09f f1bf f480 f48f",
        "f0908f f09f91 f1bfbf f48fbf",
    )
    for row in (row.split() or [""])
]
byte_strings = st.binary(max_size=6) | st.lists(st.sampled_from(EDGES), max_size=6).map(bytes)
pieces = st.text(max_size=3).flatmap(
    lambda text: st.slices(7).map(lambda cut: text.encode()[: cut.stop])
)
vocabularies = st.lists(st.none() | byte_strings | pieces, min_size=1, max_size=30)


def first(raw: bytes) -> str:
    """The first character of some bytes, or why there is none, by Python's decoder."""
    try:
        return raw.decode()[0] if raw else "piece"
    except UnicodeDecodeError as error:
        if error.start > 0:
            return raw[: error.start].decode()[0]
        return "piece" if error.reason == "unexpected end of data" else "broken"


def expected(raw: bytes | None, pending: bytes) -> str:
    return first(pending + raw) if raw else "nothing"


@in_short
@given(vocabularies, st.sampled_from(BEGINNINGS), st.data())
@example([bytes([byte]) for byte in EDGES], b"\xe0", None)
@example([bytes([byte]) for byte in EDGES], b"\xf4", None)
def test_the_mass_of_every_first_character(
    vocabulary: list[bytes | None], pending: bytes, data: st.DataObject | None
) -> None:
    spelling = Spelling(vocabulary)
    ids = list(range(len(vocabulary)))
    if data is not None:  # as a server sends them: some, the most probable first
        ids = data.draw(st.permutations(ids))[: data.draw(st.integers(0, len(ids)))]
    probabilities = np.random.default_rng(len(ids)).dirichlet(np.ones(len(ids))) if ids else []
    found = spelling.next_characters(np.array(ids, dtype=np.int64), probabilities, pending)

    masses: dict[str, float] = defaultdict(float)
    counts: dict[str, int] = defaultdict(int)
    tokens: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for token_id, mass in zip(ids, probabilities, strict=True):
        outcome = expected(vocabulary[token_id], pending)
        masses[outcome] += mass
        counts[outcome] += 1
        tokens[outcome].append((token_id, pytest.approx(mass)))
    whole = sorted(outcome for outcome in masses if len(outcome) == 1)
    assert found.characters == [
        (ord(one), pytest.approx(masses[one]), counts[one]) for one in whole
    ]
    assert found.pieces == tokens["piece"]
    assert found.broken == pytest.approx(masses["broken"])
    assert len(found.nothing) == len(spelling.nothing)
    silent = {
        (token_id, mass)
        for token_id, mass in zip(spelling.nothing.tolist(), found.nothing.tolist(), strict=True)
        if mass
    }
    assert sorted(silent) == sorted(tokens["nothing"])
    assert found.masses.sum() == pytest.approx(1 if ids else 0)
    assert found.counts.sum() == len(ids)
    for count in (1, 2):
        best = found.best([*map(ord, whole[:4]), 0x10FFFF], count)
        assert best == {
            ord(one): tokens[one][:count] for one in {*whole[:4], "\U0010ffff"} if one in masses
        }


@pytest.mark.parametrize(
    "pending", [b"a", b"\x80", b"\xe3\x81\x82", b"a\xe3", b"\xed\xa0", b"\xf5"]
)
def test_pending_bytes_that_wait_for_nothing_are_refused(pending: bytes) -> None:
    with pytest.raises(ParameterError, match="pending must be the beginning"):
        Spelling([b"a"]).next_characters([0], [1.0], pending)


def test_every_beginning_is_one() -> None:
    assert all(is_beginning(pending) for pending in BEGINNINGS if pending)


@in_short
@given(
    st.lists(st.none() | st.text("ab", max_size=5).map(str.encode), min_size=1, max_size=30),
    st.text("ab", max_size=6).map(str.encode),
)
@example([b"\xff\xff", b"\xff", b"\xff"], b"\xff")
def test_what_a_text_begins_with_and_what_runs_past_it(
    vocabulary: list[bytes | None], text: bytes
) -> None:
    spelling = Spelling(vocabulary)
    spelled = [(raw, token_id) for token_id, raw in enumerate(vocabulary) if raw]
    within = sorted((len(raw), token_id) for raw, token_id in spelled if text.startswith(raw))
    past = sorted(one for one in spelled if one[0].startswith(text) and one[0] != text)
    assert spelling.within(text).tolist() == [token_id for _, token_id in within]
    assert spelling.past(text).tolist() == [token_id for _, token_id in past]


def test_the_bytes_of_each_token() -> None:
    spelling = Spelling([b"a", None, b"", "日本".encode()])
    assert [spelling.of(token_id) for token_id in range(4)] == [b"a", b"", b"", "日本".encode()]
    assert len(spelling) == 4
    assert spelling.nothing.tolist() == [1, 2]


def test_a_vocabulary_of_nothing() -> None:
    spelling = Spelling([None])
    found = spelling.next_characters([0], [1.0])
    assert (found.characters, found.pieces, found.broken) == ([], [], 0.0)
    assert found.nothing.tolist() == [1.0]
    assert spelling.within(b"a").tolist() == spelling.past(b"").tolist() == []
