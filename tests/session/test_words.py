"""How likely a word comes, against every row of tokens that spells it or runs past it."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from explorer.backends import ScriptedBackend
from explorer.backends.base import Backend, ContextTooLong, NothingToPredict, TextNotEncodable
from explorer.decoding import (
    Chain,
    Distribution,
    MirostatV2,
    ParameterError,
    RepetitionPenalty,
    Temperature,
    TopK,
    TopP,
    advance,
    decode,
)
from explorer.session import FirstToken, Likelihood, read_word
from explorer.session.words import canonical_row
from tests.backends import tiny

in_short = settings(max_examples=60, deadline=None)
FULL: dict[str, Any] = {"bound": 0.0, "most_passes": 10_000}
CHAINS: list[Chain] = [
    (),
    (TopK(3),),
    (Temperature(0.6), TopP(0.8)),
    (MirostatV2(1.5, 0.9), Temperature(1.3)),
    (RepetitionPenalty(1.7),),
]
WORDS = [b"a", b"b", b"ab", b"ba", b"aba", b"bb", b"abab", b"a", b"aa", b"c"]
vocabularies = st.lists(st.sampled_from(WORDS), min_size=1, max_size=8).map(
    lambda words: [b"a", *words, b"</s>", b""]
)
texts = st.text("ab", min_size=1, max_size=5)
Masses = tuple[float, float]


class Random(ScriptedBackend):
    """Says something else after every prefix, always the same for a seed."""

    def __init__(self, seed: int, vocabulary: Sequence[bytes], **more: Any) -> None:
        more.setdefault("special", [len(vocabulary) - 2])
        super().__init__(vocabulary, **more)
        self.seed = seed

    def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
        row = np.random.default_rng([self.seed, *prefix]).dirichlet([0.5] * self.info.vocab_size)
        self._script.setdefault(prefix, row.tolist())
        return super().next_distribution(prefix)


def rows_of(
    backend: Backend, prefix: tuple[int, ...], chain: Chain, word: bytes
) -> tuple[dict[tuple[int, ...], Masses], list[Masses]]:
    """Every row of tokens that spells the word, and every one that runs past its end."""
    spelled: dict[tuple[int, ...], Masses] = {}
    past: list[Masses] = []

    def go(ids: tuple[int, ...], rest: bytes, raw: float, final: float, here: Chain) -> None:
        trace = decode(backend.next_distribution(prefix + ids), here, prefix + ids)
        known = trace.distribution
        for token_id, share in zip(
            known.token_ids.tolist(), known.probabilities.tolist(), strict=True
        ):
            token = backend.token(token_id)
            masses = raw * share, final * float(trace.probabilities[token_id])
            if token.special or not token.raw:
                continue
            if token.raw == rest:
                spelled[*ids, token_id] = masses
            elif token.raw.startswith(rest):
                past.append(masses)
            elif rest.startswith(token.raw):
                after = advance(here, trace, token_id)
                go((*ids, token_id), rest[len(token.raw) :], *masses, after)

    go((), word, 1.0, 1.0, chain)
    return spelled, past


def total(masses: Sequence[Masses]) -> Masses:
    return sum(raw for raw, _ in masses), sum(final for _, final in masses)


def close(expected: Masses) -> Any:
    return pytest.approx(expected, rel=1e-9, abs=1e-20)


def pair(likelihood: Likelihood | None) -> Masses:
    assert likelihood is not None
    return likelihood.raw, likelihood.final


@in_short
@given(st.integers(0, 10**6), vocabularies, texts, st.sampled_from(CHAINS))
def test_a_word_is_the_sum_of_all_rows_that_spell_it(
    seed: int, vocabulary: list[bytes], text: str, chain: Chain
) -> None:
    backend = Random(seed, vocabulary)
    reading = read_word(backend, (0,), chain, 1, text, **FULL)
    spelled, past = rows_of(backend, (0,), chain, text.encode())
    assert pair(reading.spelled) == close(total([*spelled.values()]))
    assert pair(reading.begins) == close(total([*spelled.values(), *past]))
    assert reading.tokenisations == len(spelled)
    assert pair(reading.unexplored) == pytest.approx((0, 0), abs=1e-20)
    if reading.canonical is None:
        assert "b" in text  # which not every vocabulary has
        assert reading.canonical_likelihood is None
    else:
        assert reading.canonical == backend.encode(text)
        assert pair(reading.canonical_likelihood) == close(spelled[reading.canonical])


@in_short
@given(
    st.integers(0, 10**6),
    vocabularies,
    texts,
    st.sampled_from(CHAINS),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(0, 2),
)
def test_a_search_that_ends_early_tells_what_is_missing(
    seed: int, vocabulary: list[bytes], text: str, chain: Chain, bound: float, most_passes: int
) -> None:
    backend = Random(seed, vocabulary)
    reading = read_word(backend, (0,), chain, 1, text, bound=bound, most_passes=most_passes)
    spelled, past = rows_of(backend, (0,), chain, text.encode())
    sums = {
        reading.spelled: total([*spelled.values()]),
        reading.begins: total([*spelled.values(), *past]),
    }
    for shown, (raw, final) in sums.items():
        assert shown.raw <= raw * (1 + 1e-9)
        assert raw <= (shown.raw + reading.unexplored.raw) * (1 + 1e-9)
        assert shown.final <= final * (1 + 1e-9)
        assert final <= (shown.final + reading.unexplored.final) * (1 + 1e-9) + 1e-30
    if reading.canonical is not None:
        assert pair(reading.canonical_likelihood) == close(spelled[reading.canonical])
    if reading.passes < most_passes:
        assert reading.unexplored.raw <= bound * reading.spelled.raw + 1e-24
        assert reading.unexplored.final <= bound * reading.spelled.final + 1e-24


def test_a_word_and_what_runs_past_it() -> None:
    vocabulary = [b" Pa", b" Paris", b" Parisian", b"ris", b"risk", b"x"]
    script = {(5,): [0.2, 0.4, 0.1, 0.1, 0.1, 0.1], (5, 0): [0.1, 0.1, 0.1, 0.5, 0.1, 0.1]}
    backend = ScriptedBackend(vocabulary, script)
    reading = read_word(backend, (5,), (TopK(2),), 1, " Paris")
    assert reading.canonical == (1,)
    assert pair(reading.canonical_likelihood) == close((0.4, 2 / 3))
    assert pair(reading.spelled) == close((0.4 + 0.2 * 0.5, 2 / 3 + 1 / 3 * 5 / 6))
    assert pair(reading.begins) == close((0.5 + 0.1 + 0.2 * 0.1, 2 / 3 + 1 / 3 * 5 / 6))
    assert (reading.tokenisations, reading.passes) == (2, 2)
    assert reading.first is not None
    assert (reading.first.token_id, reading.first.rank, reading.first.cut_by) == (1, 1, None)
    assert pair(reading.first.likelihood) == close((0.4, 2 / 3))


def test_a_first_token_that_a_rule_cut() -> None:
    backend = ScriptedBackend([b"a", b"b", b"c"], {(0,): [0.5, 0.3, 0.2]})
    reading = read_word(backend, (0,), (TopK(3), TopP(0.7)), 1, "ca")
    assert reading.first is not None
    assert (reading.first.token_id, reading.first.rank, reading.first.cut_by) == (2, 3, "top_p")
    assert pair(reading.first.likelihood) == close((0.2, 0))
    assert pair(reading.spelled) == close((0.2 / 3, 0))


def test_a_word_too_improbable_for_a_float() -> None:
    tiny_mass = 1e-200
    script = {(0,) * n: [1.0, tiny_mass] for n in range(1, 2)}
    script |= {(0, 1): [1.0, tiny_mass], (0, 1, 1): [1.0, tiny_mass]}
    reading = read_word(ScriptedBackend([b"a", b"b"], script), (0,), (), 1, "bbb")
    assert reading.spelled.raw == 0
    assert reading.spelled.raw_logprob == pytest.approx(3 * math.log(1e-200))
    assert reading.first is not None
    assert reading.first.rank == 2


def test_an_impossible_beginning_is_followed_only_as_the_canonical_row() -> None:
    backend = ScriptedBackend([b"a", b"b", b"ab"], {(1,): [0.0, 0.5, 0.5]})
    reading = read_word(backend, (1,), (), 1, "ab", **FULL)
    assert pair(reading.spelled) == close((0.5, 0.5))
    assert (reading.tokenisations, backend.forwards) == (1, 1)
    backend = ScriptedBackend([b"a", b"b"], {(1,): [0.0, 1.0]})
    reading = read_word(backend, (1,), (), 1, "ab", **FULL)
    assert pair(reading.canonical_likelihood) == pair(reading.begins) == (0, 0)
    assert (reading.canonical, reading.tokenisations, backend.forwards) == ((0, 1), 0, 2)


def test_tokens_of_the_same_bytes_are_rows_of_their_own() -> None:
    backend = ScriptedBackend([b"a", b"a", b"b"], {(2,): [0.2, 0.5, 0.3]})
    reading = read_word(backend, (2,), (), 1, "a")
    assert pair(reading.spelled) == close((0.7, 0.7))
    assert reading.tokenisations == 2


def encoding(vocabulary: Sequence[bytes], encode: Callable[[str], Any], **more: Any) -> Any:
    """A backend whose tokenizer does as it is told."""

    class Told(ScriptedBackend):
        def encode(self, text: str) -> tuple[int, ...]:
            return tuple(encode(text))

    return Told(vocabulary, **more)


def test_the_canonical_row_is_of_the_text_alone() -> None:
    vocabulary = [b"<s>", b"</s>", b"a", b" a", b"aa"]
    more: dict[str, Any] = {"special": [0, 1], "bos_token_id": 0}

    def row(*token_ids: int) -> tuple[int, ...] | None:
        return canonical_row(encoding(vocabulary, lambda text: token_ids, **more), "aa")

    assert row(0, 4) == (4,)
    assert row(0, 2, 2, 1) == (2, 2)
    assert row(2, 2, 1, 1) == (2, 2)
    assert row(0, 3, 2) is None  # a space that nobody typed
    assert row(0, 0, 4) is None
    assert row(2, 1, 2) is None
    assert row(0) is None
    assert canonical_row(ScriptedBackend([b"a"]), "b") is None

    def nothing(text: str) -> tuple[int, ...]:
        raise NothingToPredict("nothing is left of the text")

    assert canonical_row(encoding([b"a"], nothing), "\u00ad") is None


def test_a_word_without_a_canonical_row_is_searched_for() -> None:
    vocabulary = [b" a", b"a", b"ab", b"ab", b"b", b"x"]
    script = {(5,): [0.1, 0.3, 0.1, 0.2, 0.1, 0.2], (5, 1): [0.1, 0.1, 0.1, 0.1, 0.5, 0.1]}
    backend = encoding(vocabulary, lambda text: [0, 4], script=script)
    reading = read_word(backend, (5,), (), 1, "ab")
    assert (reading.canonical, reading.canonical_likelihood) == (None, None)
    assert pair(reading.spelled) == close((0.3 + 0.3 * 0.5, 0.3 + 0.3 * 0.5))
    assert reading.first is not None
    assert reading.first.token_id == 3  # of the longest two, the more probable one


def test_a_word_that_no_token_begins() -> None:
    backend = ScriptedBackend([b"x", b"abc"], {(0,): [0.75, 0.25]})
    reading = read_word(backend, (0,), (), 1, "ab")
    assert (reading.canonical, reading.first, reading.tokenisations) == (None, None, 0)
    assert pair(reading.spelled) == (0, 0)
    assert pair(reading.begins) == close((0.25, 0.25))
    nowhere = read_word(backend, (0,), (), 1, "q")
    assert pair(nowhere.begins) == pair(nowhere.unexplored) == (0, 0)


def test_no_context_left() -> None:
    backend = Random(1, [b"a", b"b", b"ab", b"</s>", b""], context_length=3)
    full = read_word(backend, (0, 0, 0), (), 1, "abb")
    assert full.canonical == (2, 1)
    assert full.canonical_likelihood is None
    assert full.tokenisations == 0
    distribution = backend.next_distribution((0, 0, 0))
    both = sum(float(distribution.probabilities[distribution.positions[i]]) for i in (0, 2))
    assert pair(full.unexplored) == close((both, both))
    room = read_word(backend, (0, 0), (), 1, "abb", **FULL)
    assert room.canonical_likelihood is not None
    assert room.tokenisations == 1
    assert room.unexplored.raw > 0  # a, b, and then one token too many
    with pytest.raises(ContextTooLong):
        read_word(backend, (0, 0, 0, 0), (), 1, "a")


def test_what_can_not_be_asked() -> None:
    backend = ScriptedBackend([b"a"])
    with pytest.raises(ParameterError, match="text must be at least one character"):
        read_word(backend, (0,), (), 1, "")
    with pytest.raises(TextNotEncodable):
        read_word(backend, (0,), (), 1, "a\ud800")


def test_what_a_server_did_not_send_is_unknown() -> None:
    class Partial(ScriptedBackend):
        def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
            return Distribution(np.array([0, 1]), np.log([0.5, 0.3]), 0.8)

    backend = Partial([b"a", b"b", b"ab", b"abb"])
    reading = read_word(backend, (0,), (), 1, "ab", **FULL)
    assert reading.canonical == (2,)
    assert reading.canonical_likelihood is None
    assert reading.first == FirstToken(2, None, None, None, 2)
    assert pair(reading.spelled) == close((0.5 * 0.3, 0.5 * 0.3))
    assert pair(reading.unexplored) == close((0.2 + 0.5 * 0.2, 0.2 + 0.5 * 0.2))
    known = read_word(backend, (0,), (), 1, "b")
    assert pair(known.canonical_likelihood) == close((0.3, 0.3))
    cut = read_word(backend, (0,), (TopK(1),), 1, "b", **FULL)
    assert pair(cut.spelled) == close((0.3, 0))


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("text", [" the", "日本", "言葉", " dogs"])
def test_a_real_model(text: str, chain: Chain) -> None:
    backend = tiny.backend("llama")
    prefix = backend.encode("The next")
    reading = read_word(backend, prefix, chain, len(prefix), text, **FULL)
    spelled, past = rows_of(backend, prefix, chain, text.encode())
    assert pair(reading.spelled) == close(total([*spelled.values()]))
    assert pair(reading.begins) == close(total([*spelled.values(), *past]))
    assert reading.canonical == backend.encode(text)[1:]
    scored = backend.score(prefix + reading.canonical)[len(prefix) :]
    assert reading.canonical_likelihood is not None
    assert reading.canonical_likelihood.raw_logprob == pytest.approx(
        sum(token.logprob or 0 for token in scored), abs=1e-3
    )
    short = read_word(backend, prefix, chain, len(prefix), text, most_passes=1)
    assert short.passes <= 2
    assert short.spelled.raw <= reading.spelled.raw * (1 + 1e-9)
    assert reading.spelled.raw <= (short.spelled.raw + short.unexplored.raw) * (1 + 1e-9)
