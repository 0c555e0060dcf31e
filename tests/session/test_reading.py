"""What there is to see at one moment."""

import math

import numpy as np
import pytest

from explorer.backends import ScriptedBackend
from explorer.decoding import Distribution, TopK, decode, uniform
from explorer.session import PathToken, Prompt, Session, read, read_candidates, read_path

A, B, END = range(3)
SCRIPT = {(A,): [0.25, 0.5, 0.25], (A, B): [0.5, 0.125, 0.375]}


@pytest.fixture
def backend() -> ScriptedBackend:
    return ScriptedBackend(
        [b"a", b"b", b"</s>"], SCRIPT, special=[END], end_token_ids=(END,), context_length=4
    )


def test_the_path_and_the_probability_of_each_token(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("ab")).pick(backend, END)
    first, second, third = read_path(session, backend)
    assert first == PathToken(0, A, b"a", False, None, None, None, "prompt")
    assert (second.position, second.token_id, second.raw, second.how) == (1, B, b"b", "prompt")
    assert (second.probability, second.rank) == (pytest.approx(0.5), 1)
    assert second.surprisal == pytest.approx(1)
    assert second.entropy == pytest.approx(1.5 * math.log(2))
    assert (third.how, third.u, third.special, third.rank) == ("picked", None, True, 2)
    assert third.probability == pytest.approx(0.375)


def test_the_first_token_has_no_invented_number(backend: ScriptedBackend) -> None:
    first = read_path(Session.start("m", backend, Prompt("a")), backend)[0]
    assert (first.probability, first.surprisal, first.rank, first.entropy) == (None,) * 4


def test_how_each_token_was_chosen(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("a"), seed=3)
    session = session.step(backend).sample(backend).pick(backend, A)
    path = read_path(session, backend)
    assert [token.how for token in path] == ["prompt", "greedy", "sampled", "picked"]
    assert [token.u for token in path] == [None, None, uniform(3, 2), None]
    assert [token.position for token in path] == [0, 1, 2, 3]


def test_the_path_is_of_the_branch_one_stands_on(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("a")).pick(backend, A).rewind(0).pick(backend, B)
    assert [token.token_id for token in read_path(session, backend)] == [A, B]


def test_the_candidates_are_ranked_and_spelled(backend: ScriptedBackend) -> None:
    reading = read(Session.start("m", backend, Prompt("a"), (TopK(2),)), backend, 10)
    assert [(entry.ranked.token_id, entry.raw, entry.special) for entry in reading.candidates] == [
        (B, b"b", False),
        (A, b"a", False),
        (END, b"</s>", True),
    ]
    assert [entry.ranked.cut_by for entry in reading.candidates] == [None, None, "top_k"]
    assert tuple(entry.ranked for entry in reading.candidates) == reading.ranking.rows
    assert reading.info is backend.info


def test_as_many_candidates_as_asked_for(backend: ScriptedBackend) -> None:
    trace = decode(backend.next_distribution((A,)), ())
    ranking, candidates = read_candidates(backend, trace, 2)
    assert [entry.ranked for entry in candidates] == list(ranking.rows)
    assert (len(candidates), ranking.other_count) == (2, 1)


def test_nothing_stops_a_text_in_its_middle(backend: ScriptedBackend) -> None:
    assert read(Session.start("m", backend, Prompt("ab")), backend, 5).stop is None


def test_an_end_token_that_was_chosen_ends_the_text(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("a")).pick(backend, END)
    assert read(session, backend, 5).stop == "end_of_text"
    assert read(session.pick(backend, A), backend, 5).stop is None


def test_an_end_token_in_the_prompt_does_not_end_the_text(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("a</s>"))
    assert session.prefix == (A, END)
    assert read(session, backend, 5).stop is None


def test_a_full_context_stops_the_text(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("aba"))
    assert read(session.pick(backend, END), backend, 5).stop == "context_full"
    assert read(Session.start("m", backend, Prompt("abab")), backend, 5).stop == "context_full"


def test_reading_again_asks_the_model_nothing(backend: ScriptedBackend) -> None:
    session = Session.start("m", backend, Prompt("ab"))
    read(session, backend, 5)
    forwards = backend.forwards
    read(session, backend, 50)
    assert forwards == backend.forwards == 2


def test_a_certain_token_has_no_surprisal() -> None:
    token = PathToken(1, 0, b"a", False, 1e-17, 1, 0.0, "prompt")
    assert token.surprisal == 0.0


def test_an_impossible_token_has_probability_0() -> None:
    backend = ScriptedBackend([b"a", b"b"], {(0,): [1.0, 0.0]})
    token = read_path(Session.start("m", backend, Prompt("ab")), backend)[1]
    assert (token.probability, token.rank) == (0.0, 2)


def test_what_a_server_did_not_send_is_unknown() -> None:
    class Partial(ScriptedBackend):
        def next_distribution(self, prefix: tuple[int, ...]) -> Distribution:
            return Distribution(np.array([0]), np.zeros(1), 0.6, self.info.vocab_size)

    backend = Partial([b"a", b"b"])
    known, missing = read_path(Session.start("m", backend, Prompt("aab")), backend)[1:]
    assert (known.probability, known.rank) == (pytest.approx(0.6), 1)
    assert (missing.probability, missing.surprisal, missing.rank) == (None, None, None)
    assert known.entropy is missing.entropy is None
